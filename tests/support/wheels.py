"""Wheels made by hand, so that pip installs something without a network."""

import zipfile


def make_wheel(folder, name="nobodys", version="1.0", text="answer = 42\n"):
    """A wheel with one module of that name; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", text)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def wanting(folder, name="nobodys", version="1.0"):
    """The text of a requirements file that wants the wheel of a folder, and looks nowhere else."""
    return f"--no-index\n--find-links {folder}\n{name}=={version}\n"
