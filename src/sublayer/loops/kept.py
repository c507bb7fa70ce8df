"""The search as machine code that lies on disk, so that it is had without numba.

numba compiles it once for a processor, and keeps functions of its own too, but to import it and to
find those again takes as long as to translate some hundred sentences. LLVM by itself puts machine
code into memory in milliseconds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from ctypes import CFUNCTYPE, c_ssize_t
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from llvmlite import binding

from sublayer.config.files import atomic_write

Search = Callable[[int, int], None]
"""The address of what is TOLD, and which of the threads that are told the same this is."""
_CALLABLE = CFUNCTYPE(None, c_ssize_t, c_ssize_t)
_HELPERS = {"_helperlib": "numba_", "core/runtime/_nrt_python": "NRT_"}
"""What numba's machine code calls, in files of its own, and what names begin with there."""
PLACE = "NUMBA_CACHE_DIR"
"""Says where it is kept."""
_OTHERS = {"NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX", "NUMBA_DISABLE_JIT"}
_engines: list[Any] = []
"""Whose memory the machine code is in."""


def is_possible() -> bool:
    """Whether this is a system and a processor that machine code of searches is made for.

    Who told numba of another processor than this one is left alone.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _OTHERS):
        return False
    return bool(binding.get_host_cpu_features().get("avx512vnni"))


def kept_search() -> Search | None:
    """The search, if it is kept and as it was written."""
    numba = _numba()
    if numba is None:
        return None
    for file in _files(numba):
        try:
            name, digest, code = file.read_bytes().split(b"\n", 2)
            if sha256(code).hexdigest().encode() == digest:
                return _linked(name.decode(), code, numba)
        except (OSError, ValueError, RuntimeError):
            continue  # it is made anew
    return None


def made_search() -> Search:
    """The search, compiled, and kept for the next time where that can be."""
    from sublayer.loops.entry import search

    numba = _numba()
    assert numba is not None
    code = search._library._get_compiled_object()
    head = f"{search.native_name}\n{sha256(code).hexdigest()}\n".encode()
    for file in _files(numba):
        try:
            atomic_write(file, head + code)
            break
        except OSError:
            continue
    return _CALLABLE(search.address)


def _numba() -> Path | None:
    """Where numba is installed."""
    spec = sys.modules["numba"].__spec__ if "numba" in sys.modules else find_spec("numba")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _files(numba: Path) -> list[Path]:
    """Where it may be kept: where numba keeps what it compiles, or in the user's folder."""
    here = Path(__file__).parent
    parts = [file.read_bytes() for file in sorted(here.glob("*.py"))]
    if not parts:
        return []  # nobody knows what they are of
    for version in (numba / "_version.py", Path(binding.__file__).parents[1] / "_version.py"):
        parts.append(version.read_bytes())
    cpu = f"{binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"
    told = sorted((k, v) for k, v in os.environ.items() if k.startswith("NUMBA_") and k != PLACE)
    parts.append(f"{cpu} {sys.version} {told}".encode())
    name = f"search-{sha256(b''.join(parts)).hexdigest()[:16]}.o"
    if PLACE in os.environ:
        return [Path(os.environ[PLACE]) / name]
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folders = [here / "__pycache__", Path(user) / "sublayer"]
    return [folder / name for folder in folders if folder.is_absolute()]  # some have no home


def _linked(name: str, code: bytes, numba: Path) -> Search:
    for part, prefix in _HELPERS.items():
        for own, address in _extension(numba, part).c_helpers.items():
            binding.add_symbol(own if own.startswith("_") else prefix + own, address)
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple().create_target_machine(opt=0, jit=True)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target)
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    address = engine.get_function_address(name)
    if not address:
        raise ValueError(f"no function {name}")
    return _CALLABLE(address)


def _extension(numba: Path, part: str) -> Any:
    """A file of numba in C, without numba."""
    name = f"numba.{part.replace('/', '.')}"
    if name in sys.modules:
        return sys.modules[name]
    file = next(f for suffix in EXTENSION_SUFFIXES if (f := numba / f"{part}{suffix}").exists())
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
