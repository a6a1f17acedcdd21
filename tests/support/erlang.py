"""A connection to an Erlang node that evaluates expressions in milliseconds: each `rabbitmqctl` call takes seconds."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.support.need import need

_LOOP = """
F = fun Loop() ->
  case io:get_line("") of
    eof -> halt(0);
    {error, _} -> halt(0);
    Line ->
      Answer = try
        {ok, Tokens, _} = erl_scan:string(Line),
        {ok, Exprs} = erl_parse:parse_exprs(Tokens),
        {value, Value, _} = rpc:call('%(node)s', erl_eval, exprs, [Exprs, []], 30000),
        io_lib:format("ok ~0p", [Value])
      catch Class:Reason -> io_lib:format("error ~0p", [{Class, Reason}])
      end,
      io:put_chars([Answer, "\\n"]),
      Loop()
  end
end,
F().
"""


class Erlang:
    """A hidden node that sends expressions to another one; close it when done."""

    def __init__(self, node: str, folder: Path, environment: Mapping[str, str]) -> None:
        words = [need("erl"), "-noshell", "-hidden", "-sname", f"ask{uuid.uuid4().hex[:8]}@localhost"]
        words += ["+S", "1:1", "+sbwt", "none", "-kernel", "inet_dist_use_interface", "{127,0,0,1}"]
        self._process = subprocess.Popen(
            [*words, "-eval", _LOOP % {"node": node}],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def ask(self, expressions: str) -> str:
        """Return the value of the last of ``expressions`` (without a full stop), in Erlang's notation."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{' '.join(expressions.split())}.\n".encode())
        self._process.stdin.flush()
        word, _, value = self._process.stdout.readline().decode().strip().partition(" ")
        assert word == "ok", f"{expressions}: {value or 'no answer'}"
        return value

    def close(self) -> None:
        """Stop the hidden node."""
        self._process.kill()
        self._process.communicate()
