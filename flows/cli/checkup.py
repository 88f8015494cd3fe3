"""What of this machine works: each check is one line with a state, what was found, and the way on."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from typing import Literal

from inference.contract.validation import sanitize_text
from inference.errors import CosmicError

_LITTLE_GB = 2.0  # under which a survey, or the environment of `train`, does not fit
_ANSWERS_WITHIN_S = 5
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox")

State = Literal["ok", "absent", "failed"]


@dataclass(frozen=True)
class Health:
    """One finding.

    Attributes:
        what: the thing looked at.
        state: `absent` is no fault: what needs it names it.
        found: version, address or reason.
        way_on: what to do, where it is not ok.
    """

    what: str
    state: State
    found: str
    way_on: str = ""

    def to_dict(self) -> dict[str, str]:
        """As it stands in the JSON document."""
        return asdict(self)


def checkup(store: str) -> Iterator[Health]:
    """Look at everything, the quick first; yield each finding as it is known.

    Args:
        store: a folder, or `s3://`.
    """
    yield _python()
    yield from _libraries()
    yield _disk(store)
    yield _prefect_server()
    yield from _aws(needed=store.startswith("s3:"))
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    yield (
        Health("browser", "ok", browser)
        if browser
        else Health(
            "browser", "absent", "none of " + ", ".join(_BROWSERS), "reports open in a browser of another machine, too"
        )
    )


def _python() -> Health:
    from packaging.specifiers import SpecifierSet

    found = f"{platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores"
    wanted = str(metadata("cosmic-flows")["Requires-Python"])
    if SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        return Health("Python", "ok", found)
    return Health("Python", "failed", found, f"install cosmic-flows under Python {wanted}")


def _libraries() -> Iterator[Health]:
    """The required libraries, then each extra: a library that is there in a version that does not fit is a fault."""
    from packaging.requirements import Requirement

    about = metadata("cosmic-flows")
    needed: dict[str, list[Requirement]] = {"": []}
    for text in about.get_all("Requires-Dist") or ():
        requirement = Requirement(text)
        extra = str(requirement.marker or "").partition("extra == ")[2].strip("\"'")
        needed.setdefault(extra, []).append(requirement)
    needed.pop("dev", None)
    for extra in sorted(needed):
        missing, wrong = [], []
        for requirement in needed[extra]:
            try:
                has = version(requirement.name)
            except PackageNotFoundError:
                missing.append(requirement.name)
                continue
            if not requirement.specifier.contains(has, prereleases=True):
                wrong.append(f"{requirement.name} {has} is not {requirement.specifier}")
        what = f"extra {extra}" if extra else "libraries"
        install = f"pip install '{about['Name']}[{extra}]'" if extra else f"pip install --upgrade {about['Name']}"
        if wrong or (missing and not extra):
            yield Health(
                what, "failed", "; ".join([*wrong, *(f"{name} is not installed" for name in missing)]), install
            )
        elif missing:
            yield Health(what, "absent", f"{', '.join(missing)} not installed", install)
        else:
            yield Health(what, "ok", ", ".join(f"{each.name} {version(each.name)}" for each in needed[extra][:3]))


def _disk(store: str) -> Health:
    folder = Path.cwd() if store.startswith("s3:") else Path(store).absolute()
    folder = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(folder).free / 1e9
    found = f"{free:,.0f} GB free in {folder}"
    if not os.access(folder, os.W_OK):
        return Health("disk", "failed", f"{folder} cannot be written", "name a folder of yours with --store")
    if free < _LITTLE_GB:
        return Health(
            "disk", "failed", f"{free:.1f} GB free in {folder}", "make room, or name another disk with --store"
        )
    return Health("disk", "ok", found)


def _prefect_server() -> Health:
    """The server that a run would use; a run without one starts its own."""
    from tasks.prefect_support.running_ui import running_ui

    what = "Prefect server"
    from prefect.settings import PREFECT_API_URL, temporary_settings

    configured = PREFECT_API_URL.value()
    ui = running_ui()
    url = configured or (ui and ui.api)
    if not url:
        return Health(what, "absent", "none is configured: a run starts one for itself", "`cosmic ui` in a terminal")
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES

    try:
        with (
            temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client({"timeout": _ANSWERS_WITHIN_S}, sync_client=True) as client,
        ):
            client.read_flows(limit=1)
    except (httpx.HTTPError, ValueError) as error:
        reason = sanitize_text(f"{url}: {str(error).partition(chr(10))[0] or type(error).__name__}")
        return Health(what, "failed", reason, "start it, or unset PREFECT_API_URL")
    return Health(what, "ok", sanitize_text(url))


def _aws(*, needed: bool) -> Iterator[Health]:
    """Who we are on AWS, and where; no credentials are no fault while the store is a folder."""
    from botocore.exceptions import BotoCoreError, ClientError

    from tasks.aws.emulator import is_emulated
    from tasks.aws.session import client, explain

    failed: State = "failed" if needed else "absent"
    try:
        sts = client(
            "sts", connect_timeout=_ANSWERS_WITHIN_S, read_timeout=_ANSWERS_WITHIN_S, retries={"total_max_attempts": 1}
        )
        who = sts.get_caller_identity()
    except (CosmicError, BotoCoreError, ClientError) as error:
        reason = str(error) if isinstance(error, CosmicError) else explain(error)
        yield Health("AWS identity", failed, sanitize_text(reason), "only --store s3:// and AWS executors need it")
        return
    yield Health("AWS identity", "ok", sanitize_text(who["Arn"]))
    where = f"{sts.meta.region_name}, at {sts.meta.endpoint_url}"
    yield Health("AWS region", "ok", f"{where} (the emulator)" if is_emulated() else where)
