"""The message formats of chats: Slack attachments, and Adaptive Cards for Teams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.tasks.notice import commands, event, facts, last_lines, title

FACT = 500
"""The maximum number of characters of a fact in a chat: Slack accepts 2,000 in a field, and Teams 28 KiB in total."""
LINE = 200
"""The maximum number of characters of a log line."""
_SLACK_BLOCK = 2900
"""The maximum number of characters of a block: Slack accepts 3,000."""

_SLACK_COLORS = {"success": "good", "failure": "danger", "start": "#439fe0", "log": "warning"}
_TEAMS_COLORS = {"success": "Good", "failure": "Attention", "start": "Accent", "log": "Warning"}


def slack_message(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message for an incoming webhook of Slack. Its texts create no mentions and no links."""
    fields = [_slack_text(f"*{name}*\n{_slack_escaped(_cut(value, FACT))}") for name, value in facts(run)]
    blocks: list[dict[str, Any]] = [{"type": "section", "fields": fields[:10]}]
    log = _slack_escaped("\n".join(_cut(line, LINE) for line in last_lines(run)))[-_SLACK_BLOCK:]
    if log:
        blocks.append({"type": "section", "text": _slack_text(f"```{log.replace('```', '` ` `')}```")})
    if run.get("id"):
        first = next(commands(str(run["id"])))
        blocks.append({"type": "context", "elements": [_slack_text(_slack_escaped(_cut(first, FACT)))]})
    color = _SLACK_COLORS[event(run)]
    return {"text": _slack_escaped(title(run)), "attachments": [{"color": color, "blocks": blocks}]}


def teams_message(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message for a webhook of a Teams workflow. Only the title could contain Markdown, and it has none."""
    lines = [_teams_line(_teams_run(f"{name}: ", weight="Bolder"), _teams_run(value)) for name, value in facts(run)]
    lines += [_teams_line(_teams_run(_cut(line, LINE) or " ", fontType="Monospace")) for line in last_lines(run)]
    if run.get("id"):
        lines.append(_teams_line(_teams_run(next(commands(str(run["id"]))), fontType="Monospace")))
    heading = {"type": "TextBlock", "text": title(run), "size": "Medium", "weight": "Bolder", "wrap": True}
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": title(run),
        "msteams": {"width": "Full"},
        "body": [{**heading, "color": _TEAMS_COLORS[event(run)]}, *lines],
    }
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "contentUrl": None, "content": card}]}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _slack_text(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _slack_escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams_line(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "spacing": "Small", "inlines": list(runs)}


def _teams_run(text: str, **style: str) -> dict[str, Any]:
    return {"type": "TextRun", "text": _cut(text, FACT), **style}
