"""Programs that run their arguments, as code or as another command."""

from __future__ import annotations

import re
from collections.abc import Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_POSIX_SHELLS = _words("sh ash bash dash ksh ksh93 lksh mksh oksh pdksh posh rbash yash zsh csh tcsh")
_SHELLS = _POSIX_SHELLS | _words("elvish es fish hush osh rc sash xonsh ysh")
_SCRIPTED = _SHELLS | _words(
    "python pythonw pypy perl ruby jruby node nodejs php php-cgi lua luajit rscript tclsh wish"
)
"""Interpreters whose first argument is a file; the following arguments are passed to it."""

_WITH_CODE = _POSIX_SHELLS | _words("python pythonw pypy")
"""Interpreters with code after ``-c``; the following arguments are passed to it. (PowerShell would run them.)"""

_INTERPRETERS = _SCRIPTED | _words(
    """
    beeline bmake bpython chez chibi-scheme frawk goawk gosh graalpy hhvm igawk ipy jython litecli logrotate matlab
    meson micropython mit-scheme mycli mysqlsh newlisp original-awk pgcli ptpython py pyspark samu scons spark-shell
    spark-sql spark-submit trino usql wolframscript
    amm awk bb bpftrace bsdmake busted clickhouse clickhouse-client clickhouse-local clisp clj clojure cmd cqlsh
    cscript csi cypher-shell dart dc deno duckdb ecl elixir emacs emacsclient erl escript expect fennel gawk gdb
    gforth ghc ghci gjq gmake gnuplot gojq groovy groovysh gs gsed guile iex influx ipython irb janet jaq jq
    jrunscript jshell julia kotlin latexmk lldb lualatex m4 make mariadb mawk maxima mongo mongosh mono mysql nawk
    nim ninja nvim ocaml octave osascript pdflatex perl6 powershell psql pwsh qjs racket raku redis-cli runghc
    runhaskell rust-script sbcl scala scala-cli scheme scsh sed snowsql sqlcmd sqlite sqlplus ssed swift systemtap
    tcc ts-node tsx valkey-cli vi vim vimdiff wine wine64 wscript xelatex yq
    """
)

_WRAPPERS = _words(
    """
    autossh calife clush crun dbclient devcontainer dsh flyctl genv gnice gnohup gstdbuf i386 k3s microk8s minikube
    parallel-ssh pdsh pfexec pssh run0 runc salt salt-call salt-ssh sudo-rs toolbx x86_64
    ansible ansible-playbook apptainer asdf aws-vault batch bazel buildah bundle bunx busybox bwrap cabal capsh
    catatonit catchsegv cgexec ch-run chamber chpst chroot chrt concurrently conda consul-template corepack
    cpulimit crictl cronic crontab cross-env ctr daemonize dbus-launch dbus-run-session debugpy direnv distrobox
    doas docker docker-compose doppler dotenv dotenvx dtach dumb-init dzdo easy_install eatmydata entr env envchain
    envconsul envdir envuidgid exec-env execlineb fakechroot fakeroot faketime fd fdfind find firejail flatpak
    flock foreman fzf gdbserver gosu gtimeout guix gxargs hatch heaptrack heroku honcho hwloc-bind hyperfine ifne
    incus infisical inotifyrun ionice kubectl lckdo limactl linux32 linux64 ltrace lxc lxc-attach lxc-execute
    machinectl mamba memray micromamba minijail mispipe mosh mpiexec mpirun multipass nc ncat nerdctl netcat nice
    nix-shell nodemon nohup nox npm npx nsenter numactl oc opam orterun parallel pdm pee pexec pipenv pipx pkexec
    plink pm2 pnpm pnpx podman poetry poetry-run prlimit proot proxychains proxychains4 py-spy pyenv qemu-aarch64
    qemu-arm qemu-i386 qemu-x86_64 rbenv rlogin rlwrap rsh run-one run-parts runas runcon runit runsv runuser
    rustup rye s6-envdir s6-setsid s6-setuidgid s6-softlimit salloc sbatch schedtool setarch setlock setpriv setsid
    setuidgid sftp sg singularity socat softlimit sops srun ssh ssh-agent sshpass start-stop-daemon stdbuf strace
    su su-exec sudo sudoedit supervise supervisord systemd-cat systemd-inhibit systemd-nspawn systemd-run
    systemd-socket-activate taskset tcpserver telnet timelimit tini torify torsocks toybox trickle tsocks udocker
    uftrace unbuffer unshare uv uvx vagrant valgrind watchexec with-contenv wsl xargs xterm xvfb-run yarnpkg zrun
    """
)
_WORDS_TOO = _words(
    """
    ant at bc bun cargo chronic cmake command composer coverage daemon dotnet ed eval ex exec fab gem go gp gradle
    hy invoke ion java just mise mvn nix nu op perf pip r rake retry rr sage sbt scl screen script snap stack task
    time timeout tmux tox view volta watch yarn
    """
)
"""Such programs whose names are common words: after the first argument, they count only with a slash."""

_LOADERS = ("ld-linux", "ld-musl", "ld.so", "ld64.so")
"""The prefixes of the names of dynamic loaders, which run the program in their arguments."""

_ALL = _INTERPRETERS | _WRAPPERS | _WORDS_TOO
_VERSIONED = re.compile(r"(?P<name>[a-z+_-]*[a-z])(?:[-_.]?[0-9][\w.]*(?:-[\w.-]+)?)?(?:\.exe)?\Z")
_BUILD = re.compile(r"[-.](?:static|dbg|debug)(?=(?:\.exe)?\Z)")
_CODE_FLAG = re.compile(r"-[abdefhiklnprstuvxBEHIPST]*c\Z")
"""``-c`` among flags without an argument of their own. With one, as in ``bash -Oc extglob``, the code comes later."""

_MAYBE_CODE_FLAG = re.compile(r"-[a-zA-Z]*c\Z")

_RUNS_NEXT = re.compile(
    r"--?(?:[a-z]+-)*(?:cmd|command|compress-program|editor|eval|exec|execute|expression|extcmd|hook|pager|rsh"
    r"|receive-pack|script|shell|upload-pack)\Z"
)
"""Options of many programs that are followed by a command or code."""

_RUNS_NEXT_OF = {
    "bsdtar": _words("-I"),
    "git": _words("-c -x -u -O foreach run"),
    "gtar": _words("-I -F"),
    "man": _words("-P -H"),
    "lftp": _words("-c -e -f"),
    "rg": _words("--pre --hostname-bin"),
    "rpm": _words("-E"),
    "rsync": _words("-e --rsync-path -M"),
    "scp": _words("-S -D -o -F"),
    "split": _words("--filter"),
    "tar": _words("-I -F --checkpoint-action"),
    "tcpdump": _words("-z"),
    "wget": _words("-e --use-askpass"),
    "curl": _words("-K --config"),
    "zip": _words("-TT --unzip-command"),
}
"""Such options, or subcommands, of particular programs."""


UNKNOWN = ""
"""An argument that is known only in a run; as a program, it may be any program."""


def that_runs_arguments(argv: Sequence[object]) -> str | None:
    """Return the first argument that is an interpreter or a wrapper, or None."""
    for index, argument in enumerate(argv):
        if not isinstance(argument, str) or (index and any(map(str.isspace, argument))):
            continue  # a number, or a sentence
        if index == 0 and argument == UNKNOWN:
            return "a program that only the environment names"
        name = _name_of(argument)
        if name.startswith(_LOADERS):
            return argument
        if index == 0 and name == "ip" and "exec" in argv:
            return "ip exec"
        if name in _ALL and (index == 0 or "/" in argument or name not in _WORDS_TOO):
            return argument
    return None


def that_runs_next(argv: Sequence[object]) -> str | None:
    """Return the last argument if it is an option that runs the next one, as in ``[tar, -I]``; otherwise None."""
    last = argv[-1]
    if len(argv) < 2 or not isinstance(last, str) or not isinstance(argv[0], str):
        return None
    of_program = _RUNS_NEXT_OF.get(_name_of(argv[0]), frozenset())
    return last if last in of_program or _RUNS_NEXT.match(last) else None


def is_code_of_a_shell(argv: Sequence[object], index: int) -> bool:
    """Return whether an argument is code for a shell, as in ``[sh, -c, CODE]``."""
    before = argv[:index]
    flag = before[-1] if before else None
    shells = any(isinstance(argument, str) and _name_of(argument) in _SHELLS for argument in before)
    return shells and isinstance(flag, str) and _MAYBE_CODE_FLAG.match(flag) is not None


def takes_arguments(argv: Sequence[object]) -> bool:
    """Return whether arguments after ``argv`` are passed to a file or code in it: ``[python3, report.py]``.

    This is also true if ``argv`` has no interpreter or wrapper.
    """
    if that_runs_arguments(argv) is None:
        return True
    name = _name_of(argv[0]) if isinstance(argv[0], str) else ""
    rest = [str(argument) for argument in argv[1:]]
    if that_runs_arguments(["-", *rest]) is not None or not rest:
        return False
    if _CODE_FLAG.match(rest[0]):
        return name in _WITH_CODE and len(rest) > 1 and not rest[1].startswith("-")
    # A word without a dot or a slash may be a subcommand, such as `node inspect`.
    return name in _SCRIPTED and not rest[0].startswith("-") and not {".", "/"}.isdisjoint(rest[0])


def _name_of(argument: str) -> str:
    """Return the name of a program without its folder and version: ``python`` for ``/usr/bin/python3.11``."""
    name = argument.rpartition("/")[2].lower()
    if name in _ALL:
        return name
    name = _BUILD.sub("", name)
    found = _VERSIONED.match(name)
    return found["name"] if found else name
