"""Which classes and functions a pickled checkpoint may name; none of them is ever imported."""

import re

DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
STORAGES = {f"{module}.{name}": dtype for module in ("torch", "torch.cuda") for name, dtype in DTYPES.items()}

# What an AstroMAE and the wrappers around one consist of.
_MODEL = re.compile(
    r"""torch\.nn\.modules\.(
        container\.(Sequential|ModuleList) | linear\.(Linear|Identity) | conv\.Conv2d | batchnorm\.BatchNorm2d
        | normalization\.LayerNorm | activation\.(ReLU|GELU|SiLU) | dropout\.Dropout
        | pooling\.(MaxPool2d|AvgPool2d) | flatten\.Flatten)
    | torch\.nn\.parallel\.(data_parallel\.DataParallel | distributed\.DistributedDataParallel)
    | torch\.optim\.swa_utils\.AveragedModel | torch\._dynamo\.eval_frame\.OptimizedModule
    | timm\.utils\.model_ema\.ModelEma(V2|V3)?
    | timm\.(models\.vision_transformer|models\.layers|layers)[\w.]*
        \.(Attention|Block|DropPath|Format|LayerNorm|LayerScale|Mlp|PatchEmbed|VisionTransformer)
    | (\S+\.)?NormalCell\.\S+ | blocks\.\S+""",
    re.VERBOSE,
)
# What training scripts store beside the weights.
_DATA = re.compile(
    r"""(builtins|__builtin__)\.(bytearray|complex|frozenset|list|dict|tuple|set|range|slice|int|float|str|bool|object)
    | _codecs\.encode | copy_?reg\._reconstructor | typing\.\w+ | collections\.\w+ | functools\.partial
    | argparse\.Namespace | types\.SimpleNamespace | datetime\.\w+ | decimal\.Decimal | fractions\.Fraction
    | uuid\.UUID | zoneinfo\.ZoneInfo(\._unpickle)? | pathlib(\._local)?\.\w*Path
    | numpy\.(_?core\.(multiarray|numeric)\.(scalar|_reconstruct|_frombuffer) | dtype | ndarray | dtypes\.\w+
        | bool_? | u?int\d+ | float\d+ | random\._pickle\.\w+ | random\.\w+\.\w+)
    | torch\.(Size | device | Generator | u?int\d+ | b?float\d+\w* | complex\d+ | bool | \w+Storage | Tensor
        | storage\.\w+Storage | serialization\._get_layout | _utils\._rebuild_\w+ | _tensor\._rebuild_from_type_v2
        | nn\.functional\.\w+ | _C\._nn\.\w+ | optim\.[\w.]+ | nn\.modules\.[\w.]+)
    | (torchmetrics|omegaconf|lightning|pytorch_lightning|lightning_fabric|lightning_utilities)\.[\w.]+""",
    re.VERBOSE,
)


def of_a_model(name: str) -> bool:
    """Whether an AstroMAE consists of objects of this class.

    >>> of_a_model("torch.nn.modules.linear.Linear"), of_a_model("torch.nn.modules.activation.Tanh")
    (True, False)
    """
    return _MODEL.fullmatch(name) is not None


def is_known(name: str) -> bool:
    """Whether a checkpoint may name this class or function, of a model or of the data beside it.

    >>> is_known("pathlib.PosixPath"), is_known("os.system")
    (True, False)
    """
    return name in STORAGES or of_a_model(name) or _DATA.fullmatch(name) is not None
