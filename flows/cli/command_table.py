"""All subcommands: in which group they stand, what they do, and how they are called."""

GROUPS: dict[str, dict[str, str]] = {
    "data": {
        "init": "make a bucket with scripts/ and results/",
        "simulate": "simulate a survey as one .pt or .safetensors file",
        "inspect": "what a file holds: columns, bands, and what is doubtful",
        "ingest": "FITS cut-outs and a table of magnitudes into partitions",
        "partition": "cut a survey into partitions 1.pt, 2.pt, ...",
    },
    "runs": {
        "plan": "time, cost and limits of a run, before it starts",
        "run": "run a model over partitions: redshifts, bill, report",
        "open": "show the report of a run in the browser",
        "logs": "what CloudWatch has of a run, by rank",
        "history": "times of a Step Functions execution, or of all of a machine",
        "cost": "what a finished run costs, by one of three methods",
        "prices": "renew the price book from the price list of AWS",
    },
    "redshifts": {
        "catalogue": "a run's redshifts as Parquet, FITS, VOTable or CSV",
        "metrics": "how good redshifts are, with intervals and in bins",
        "calibrate": "give a model the uncertainty of each redshift",
    },
    "models": {
        "model": "a new model with random weights, to time inference by",
        "train": "train a model on galaxies of known redshift",
        "import-checkpoint": "convert a published checkpoint, without executing it",
    },
    "benchmarks": {
        "bench": "run a sweep: tables, plots and findings over what varies",
        "reproduce": "the class report's tables and plots, made anew",
        "compare": "what differs between two runs or sweeps beyond the noise",
        "summarize": "the tables of any combined_data.json, ours or older",
    },
    "AWS and clusters": {
        "deploy": "make functions, state machine, roles and logs on AWS",
        "destroy": "remove what deploy made, after asking; data if you say so",
        "emulate": "run a command against an emulator of AWS",
        "cluster": "show the job script that a cluster file would start",
    },
    "this machine": {
        "doctor": "what works here, and what to do where it does not",
        "ui": "serve Prefect's UI and the reports of the store",
        "examples": "copy the requests, sweeps and recipes that come along",
        "completion": "make a shell complete commands and options",
    },
}
COMMANDS = {name: what for group in GROUPS.values() for name, what in group.items()}

EXAMPLES: dict[str, tuple[str, ...]] = {
    "init": ("cosmic init my-survey", "cosmic init my-bucket --store s3://"),
    "simulate": ("cosmic simulate --samples 3000 --seed 7 --out survey.pt",),
    "inspect": ("cosmic inspect survey.fits",),
    "ingest": ("cosmic ingest cutouts --to .cosmic/store/my-survey/galaxies",),
    "partition": (
        "cosmic partition survey.pt --size 25MB --to .cosmic/store/my-survey/galaxies",
        "cosmic partition survey.pt --samples 375 --to s3://my-bucket/galaxies",
    ),
    "plan": (
        "cosmic plan request.json",
        "cosmic plan request.json --executor lambda --data 12.6GB",
        "cosmic plan request.json --executor lambda --deadline 60s --out faster.json",
        "cosmic plan --score my-survey",
    ),
    "run": (
        "cosmic run request.json",
        "cosmic run request.json --workers 4 --fresh",
        "cosmic run request.json --store s3:// --executor lambda",
        "cosmic run request.json --executor dask --scheduler tcp://head-node:8786",
    ),
    "open": ("cosmic open my-survey/results/first", "cosmic open my-bucket/results/first --store s3://"),
    "logs": ("cosmic logs my-bucket/results/first --rank 3",),
    "history": (
        "cosmic history arn:aws:states:eu-west-1:123456789012:execution:machine:name",
        "cosmic history --out times.csv \\\n      arn:aws:states:eu-west-1:123456789012:stateMachine:machine",
    ),
    "cost": ("cosmic cost my-survey/results/first --method as-printed",),
    "prices": ("cosmic prices eu-west-1 us-east-1",),
    "catalogue": (
        "cosmic catalogue my-survey/results/first --to redshifts.fits",
        "cosmic catalogue my-survey/results/first --format votable --objects ids.csv",
    ),
    "metrics": ("cosmic metrics my-survey/results/first --to quality", "cosmic metrics redshifts.fits"),
    "calibrate": ("cosmic calibrate my-survey/results/first --to my.calibration.json",),
    "train": ("cosmic train .cosmic/store/my-survey/galaxies --to my-model",),
    "model": (
        "cosmic model new .cosmic/store/my-bucket/models/full.safetensors --size full",
        "cosmic model new s3://my-bucket/models/small.safetensors --size small --seed 1",
    ),
    "import-checkpoint": ("cosmic import-checkpoint published.pt model.safetensors",),
    "bench": (
        "cosmic bench benchmarks/sweeps/smoke.yaml --dry-run",
        "cosmic bench sweep.yaml --store s3:// --executor lambda --max-cost 2",
    ),
    "reproduce": ("cosmic reproduce", "cosmic reproduce --scale report --to our-report"),
    "compare": (
        "cosmic compare my-survey/results/before my-survey/results/after",
        "cosmic compare results/before results/after --fail-above 1.1",
    ),
    "summarize": ("cosmic summarize combined_data.json", "cosmic summarize my-survey/results/first --json"),
    "deploy": ("cosmic deploy --bucket my-bucket", "cosmic deploy --bucket my-bucket --memory 4096"),
    "destroy": ("cosmic destroy",),
    "emulate": (
        "cosmic emulate --with .cosmic/store -- \\\n      cosmic run request.json --store s3:// --executor lambda",
        "cosmic emulate --with .cosmic/store --keep emulated -- \\\n      cosmic run request.json --store s3://",
    ),
    "cluster": ("cosmic cluster deployments/clusters/slurm.yaml",),
    "doctor": ("cosmic doctor", "cosmic doctor --store s3:// --json"),
    "ui": ("cosmic ui", "cosmic ui --port 4300 --store /data/store"),
    "examples": ("cosmic examples examples",),
    "completion": (
        "cosmic completion bash > ~/.local/share/bash-completion/completions/cosmic",
        "source <(cosmic completion zsh)   # in ~/.zshrc, below compinit",
    ),
}
