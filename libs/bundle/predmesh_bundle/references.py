"""Which files a bundle names, and whether they are there; reads names and Python syntax, runs nothing."""

import ast
from collections.abc import Iterator
from pathlib import Path

from predmesh_bundle.content import link_problem
from predmesh_bundle.nearest import hint
from predmesh_bundle.schema import FeatureSet, Inference, Preprocessing

Found = Iterator[tuple[tuple[str | int, ...], str]]

SUFFIXES: dict[str, tuple[str, ...]] = {
    "onnx": (".onnx",),
    "pytorch": (".pt2",),
    "torchscript": (".pt", ".pth", ".ts"),
    "sklearn": (".skops",),
    "xgboost": (".json", ".ubj"),
    "lightgbm": (".txt",),
    "tensorflow": ("", ".keras"),
    "python": (".py",),
}
"""How a model's file ends, by framework: none of them is a pickle, which could run anything."""

_SAVING = {
    "onnx": "export it to .onnx",
    "pytorch": "save it with torch.export.save to .pt2",
    "torchscript": "save it with torch.jit.save to .pt",
    "sklearn": "save it with skops.io.dump to .skops; a pickle could run anything",
    "xgboost": "save it with save_model to .ubj or .json",
    "lightgbm": "save it with save_model to .txt",
    "tensorflow": "save it as a SavedModel folder or a .keras file",
    "python": "name a .py file",
}


def inference_files(inference: Inference, folder: Path) -> Found:
    """Problems with the model's file."""
    problem = _missing(inference.file, folder)
    if problem:
        yield ("file",), problem
    elif Path(inference.file).suffix not in SUFFIXES[inference.framework]:
        yield ("file",), f"{inference.file!r} is no {inference.framework} model: {_SAVING[inference.framework]}"


def feature_files(features: FeatureSet, folder: Path) -> Found:
    """Problems with the feature repository."""
    if problem := _missing(features.repo, folder):
        yield ("repo",), problem
    elif not (folder / features.repo / "feature_store.yaml").is_file():
        yield ("repo",), f"the folder {features.repo!r} holds no feature_store.yaml"


def preprocessing_files(preprocessing: Preprocessing, folder: Path) -> Found:
    """Problems with the ONNX graph or the plug-in's module."""
    if preprocessing.onnx is not None and (problem := _missing(preprocessing.onnx, folder)):
        yield ("onnx",), problem
    if preprocessing.plugin is not None:
        yield from ((("plugin",), problem) for problem in _plugin_problems(preprocessing.plugin, folder))


def _plugin_problems(plugin: str, folder: Path) -> Iterator[str]:
    module, name = plugin.split(":")
    file = f"{module.replace('.', '/')}.py"
    if problem := _missing(file, folder):
        yield problem
        return
    try:
        classes = _classes(folder / file)
    except (SyntaxError, ValueError) as error:
        yield f"{file} is no Python: {error}"
        return
    if name not in classes:
        yield f"{file} defines no class {name!r}; {hint(name, classes)}"
    elif "transform" not in classes[name] and not classes[name] & {"*"}:
        yield f"the class {name!r} in {file} has no method `transform(self, frame)`"


def _classes(path: Path) -> dict[str, set[str]]:
    """What each class of a module defines; `*` where it inherits, and for names that are imported or assigned."""
    found: dict[str, set[str]] = {}
    for node in ast.parse(path.read_bytes(), filename=path.name).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = {*_names(node.body), *("*" for _ in node.bases)}
        else:
            found |= {name: {"*"} for name in _names([node])}
    return found


def _names(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (each.id for each in targets if isinstance(each, ast.Name))
            case ast.ImportFrom(names=names) | ast.Import(names=names):
                yield from (alias.asname or alias.name for alias in names)


def _missing(name: str, folder: Path) -> str | None:
    path = folder / name
    if path.exists() or path.is_symlink():
        return link_problem(path, folder) if not path.is_dir() or path.is_symlink() else None
    beside = path.parent if path.parent.is_dir() else folder
    there = [each.relative_to(folder).as_posix() for each in beside.iterdir() if not each.name.startswith(".")]
    return f"the bundle has no {name!r}; {hint(name, there)}"
