"""Functions that run what they are given, as code or as a command: ``os.system``, ``subprocess.run``, ``eval``.

A job may name one of them as its task. What a submitter gives to it would be run, too.
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
"""Modules that are there to run or to load code, or to start programs: any function of theirs counts."""

_FUNCTIONS = _words(
    """
    IPython.embed IPython.start_ipython asyncio.create_subprocess_exec asyncio.create_subprocess_shell
    builtins.__import__ builtins.compile builtins.eval builtins.exec code.interact distutils.spawn.spawn
    doctest.run_docstring_examples invoke.run joblib.load numpy.load pandas.eval pandas.read_pickle pipes.Template
    profile.run profile.runctx sh.Command unittest.main webbrowser.open yaml.full_load yaml.load yaml.unsafe_load
    """
)

_OF_THE_SYSTEM = ("system", "popen", "exec", "spawn", "posix_spawn", "startfile", "fork")
"""How the names of such functions of ``os`` begin."""


def runs_what_it_is_given(name: str) -> bool:
    """Return whether the function runs its arguments as code or as a command; ``name`` is ``os.system`` or the like."""
    module, _, function = name.partition(".")
    if module in ("os", "posix", "nt"):
        return function.startswith(_OF_THE_SYSTEM)
    if name in _FUNCTIONS:
        return True
    parts = name.split(".")
    return any(".".join(parts[:end]) in _MODULES for end in range(1, len(parts)))
