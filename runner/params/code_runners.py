"""Functions that run their arguments as code or as a command: ``os.system``, ``subprocess.run``, ``eval``.

A job may name such a function as its task. It would run the values of a submitter, too.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MODULES = _words(
    """
    _ctypes _pickle _posixsubprocess asyncio.subprocess bdb cProfile cloudpickle codeop ctypes dill importlib
    logging.config marshal pdb pexpect pickle pkgutil pty ptyprocess pydoc runpy shelve subprocess timeit zipimport
    """
)
"""Modules that run or load code, or start programs. All of their functions count."""

_FUNCTIONS = _words(
    """
    IPython.embed IPython.start_ipython asyncio.create_subprocess_exec asyncio.create_subprocess_shell
    builtins.__import__ builtins.compile builtins.eval builtins.exec code.interact distutils.spawn.spawn
    doctest.run_docstring_examples invoke.run joblib.load numpy.load pandas.eval pandas.read_pickle pipes.Template
    profile.run profile.runctx sh.Command unittest.main webbrowser.open yaml.full_load yaml.load yaml.unsafe_load
    """
)

_OF_THE_SYSTEM = ("system", "popen", "exec", "spawn", "posix_spawn", "startfile", "fork")
"""The prefixes of the names of such functions in ``os``."""


def runs_what_it_is_given(name: str) -> bool:
    """Return whether a function, such as ``os.system``, runs its arguments as code or as a command."""
    module, _, function = name.partition(".")
    if module in ("os", "posix", "nt"):
        return function.startswith(_OF_THE_SYSTEM)
    if name in _FUNCTIONS:
        return True
    parts = name.split(".")
    return any(".".join(parts[:end]) in _MODULES for end in range(1, len(parts)))
