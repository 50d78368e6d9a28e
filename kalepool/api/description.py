"""The API's OpenAPI description: FastAPI's, with our problems, lasting names of operations, tags and examples.

examples.json: what the operations answered in a run; made anew with `KALEPOOL_RECORD_EXAMPLES=1 pytest
tests/integration/api/test_examples.py`.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from kalepool.api import problems
from kalepool.api.versions import ENDINGS, V1

OPERATION_IDS = {
    "GET /health": "get_health",
    "GET /alive": "get_alive",
    "GET /info": "get_info",
    "GET /blocks/{index}": "get_block",
    "GET /books": "get_books",
    "GET /books/blocks": "list_block_results",
    "GET /books/days": "list_day_results",
    "GET /books/closings": "list_closings",
    "GET /books/payouts": "list_paid",
    "GET /farmers/{farmer_id}/totals": "get_farmer_totals",
    "GET /miner/rigs": "list_rigs",
    "GET /operator/invites": "list_invites",
    "GET /operator/waiting": "get_waiting",
    "GET /pool": "get_pool",
    "GET /pool/farmers": "list_pool_farmers",
    "GET /pool/farmers/{farmer_id}": "get_pool_farmer",
    "GET /pool/miners/{miner_id}": "get_pool_miner",
    "GET /pool/blocks": "list_pool_blocks",
    "GET /pool/blocks/{index}": "get_pool_block",
    "GET /pool/blocks/{index}/farmers": "list_pool_block_farmers",
    "GET /pool/hashrates": "get_hashrates",
    "GET /pool/events": "list_pool_events",
    "GET /pool/find": "find_pages",
    "GET /pool/terms": "get_terms",
    "GET /.well-known/stellar.toml": "get_stellar_toml",
    "GET /auth": "get_challenge",
    "POST /auth": "answer_challenge",
    "GET /auth/contracts": "get_contract_challenge",
    "POST /auth/contracts": "answer_contract_challenge",
    "POST /farmers/register": "register_farmer",
    "GET /farmers": "list_farmers",
    "GET /farmers/{farmer_id}": "get_farmer",
    "PATCH /farmers/{farmer_id}": "change_farmer",
    "GET /farmers/{farmer_id}/blocks": "list_farmer_blocks",
    "GET /farmers/{farmer_id}/export": "export_farmer_blocks",
    "GET /farmers/{farmer_id}/withdrawals": "list_withdrawals",
    "POST /farmers/{farmer_id}/withdrawals": "order_withdrawal",
    "GET /farmers/{farmer_id}/withdrawals/{withdrawal_id}": "get_withdrawal",
    "POST /farmers/{farmer_id}/leave": "leave",
    "GET /farmers/{farmer_id}/leave": "get_leaving",
    "GET /farmer/poolers": "list_open_poolers",
    "GET /farmer/farmers": "list_own_farmers",
    "POST /farmer/farmers": "register_own_farmer",
    "POST /farmer/own-wallets": "register_own_wallet_farmer",
    "POST /plant": "plant",
    "POST /work": "work",
    "POST /harvest": "harvest",
    "GET /poolers/{pooler_id}": "get_pooler",
    "GET /poolers/{pooler_id}/blocks": "list_pooler_blocks",
    "GET /poolers/{pooler_id}/failures": "list_pooler_failures",
    "GET /poolers/{pooler_id}/compensations": "list_pooler_compensations",
    "GET /keys": "list_own_keys",
    "POST /keys": "make_key",
    "DELETE /keys/{key_id}": "end_key",
    "POST /miner/register": "register_miner",
    "POST /miner/invites": "make_invite",
    "GET /miner/job": "get_job",
    "GET /miner/jobs/stream": "stream_jobs",
    "POST /miner/shares": "submit_shares",
    "GET /miner/me": "get_miner",
    "PATCH /miner/me": "change_miner",
    "DELETE /miner/rigs/{searcher}": "retire_rig",
    "GET /miner/credits": "list_credits",
    "GET /miner/blocks/{block_index}": "get_block_credits",
    "GET /miner/blocks/{block_index}/closing": "get_block_closing",
    "GET /miner/blocks/{block_index}/shares": "get_share_log",
    "GET /miner/balance": "get_miner_balance",
    "GET /miner/payouts": "list_payouts",
    "POST /miner/payouts": "order_payout",
    "GET /miner/statement": "export_miner_statement",
    "POST /operator/books/corrections": "correct_books",
    "GET /operator/results/{by}": "export_results",
    "GET /operator/audit/{what}": "export_audit",
    "GET /operator/poolers": "list_poolers",
    "POST /operator/poolers": "add_pooler",
    "PATCH /operator/poolers/{pooler_id}": "change_pooler",
    "GET /operator/planting": "get_planting",
    "PUT /operator/planting": "switch_planting",
    "GET /operator/miners": "list_miners",
    "PUT /operator/miners/{miner_id}/ban": "ban_miner",
    "DELETE /operator/miners/{miner_id}/ban": "lift_ban",
    "GET /operator/keys": "list_all_keys",
    "POST /operator/keys": "make_key_for",
    "DELETE /operator/keys/{key_id}": "end_any_key",
    "GET /operator/submissions": "list_submissions",
    "GET /operator/submissions/{submission_id}": "get_submission",
    "PUT /operator/submissions/{submission_id}/outcome": "settle_submission",
    "GET /operator/fees": "get_fees",
    "GET /operator/compensations": "list_compensations",
    "PUT /operator/compensations/{compensation_id}/payment": "note_compensation_payment",
    "PUT /operator/compensations/{compensation_id}/approval": "approve_compensation_payment",
    "PUT /operator/compensations/{compensation_id}/check": "judge_compensation",
    "GET /operator/gaps": "list_gaps",
    "PUT /operator/gaps/acknowledgement": "acknowledge_gaps",
    "GET /operator/actions": "list_actions",
    "GET /operator/webhooks": "list_webhooks",
    "POST /operator/webhooks": "add_webhook",
    "DELETE /operator/webhooks/{webhook_id}": "delete_webhook",
    "POST /operator/webhooks/{webhook_id}/test": "test_webhook",
    "GET /operator/webhooks/{webhook_id}/deliveries": "list_webhook_deliveries",
    "PATCH /operator/webhooks/{webhook_id}": "change_webhook",
    "POST /operator/webhooks/{webhook_id}/deliveries/{event_id}/again": "resend_webhook_delivery",
    "GET /miner/webhooks": "list_miner_webhooks",
    "POST /miner/webhooks": "add_miner_webhook",
    "PATCH /miner/webhooks/{webhook_id}": "change_miner_webhook",
    "DELETE /miner/webhooks/{webhook_id}": "delete_miner_webhook",
    "POST /miner/webhooks/{webhook_id}/test": "test_miner_webhook",
    "GET /miner/webhooks/{webhook_id}/deliveries": "list_miner_webhook_deliveries",
    "POST /miner/webhooks/{webhook_id}/deliveries/{event_id}/again": "resend_miner_webhook_delivery",
    "GET /farmers/{farmer_id}/webhooks": "list_farmer_webhooks",
    "POST /farmers/{farmer_id}/webhooks": "add_farmer_webhook",
    "PATCH /farmers/{farmer_id}/webhooks/{webhook_id}": "change_farmer_webhook",
    "DELETE /farmers/{farmer_id}/webhooks/{webhook_id}": "delete_farmer_webhook",
    "POST /farmers/{farmer_id}/webhooks/{webhook_id}/test": "test_farmer_webhook",
    "GET /farmers/{farmer_id}/webhooks/{webhook_id}/deliveries": "list_farmer_webhook_deliveries",
    "POST /farmers/{farmer_id}/webhooks/{webhook_id}/deliveries/{event_id}/again": "resend_farmer_webhook_delivery",
    "POST /operator/own-wallets": "register_own_wallet",
    "PUT /operator/own-wallets/{farmer_id}/terms": "set_self_planting_terms",
}
"""Generated clients name their methods so: within a version none of them changes, and none is used again."""

TAGS = {
    "public": "For everybody, without a key: how the pool is, its blocks and its books.",
    "sign-in": "SEP-10: a wallet signs a challenge, and gets a token for `farmers`.",
    "farmers": "For farmers: with the token of a wallet that has signed in, or a key that only reads.",
    "miners": "For miners: jobs, shares, what they earn. With a miner's key.",
    "poolers": "For poolers: farmers, and what is planted, worked and harvested. With a pooler's key.",
    "operators": "For who runs the pool. With an operator's key.",
    "keys": "For whoever has a key: it and its like.",
}

AT_THE_ROOT = "/.well-known/"
"""Where it is had is said elsewhere."""


@cache
def recorded() -> dict[str, dict[str, Any]]:
    """By operation: `request`, where it has a body, `answer`, where it has one that is JSON, and `texts`, what it
    answers otherwise, by media type."""
    return json.loads((Path(__file__).parent / "examples.json").read_text())


def describe(app: FastAPI) -> dict[str, Any]:
    """Made once for each app."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        made["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
        made["servers"] = [{"url": V1}]
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = problems.SCHEMA
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        for path, operations in made["paths"].items():
            for method, operation in operations.items():
                _complete(f"{method.upper()} {path}", operation)
            if path.startswith(AT_THE_ROOT):
                operations["servers"] = [{"url": "/"}]
        app.openapi_schema = made
    return app.openapi_schema


def _complete(name: str, operation: dict[str, Any]) -> None:
    """With its lasting name, its examples, and whether it ends."""
    operation["operationId"] = OPERATION_IDS.get(name, operation["operationId"])
    if name in ENDINGS:
        operation["deprecated"] = True
    example = recorded().get(name, {})
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None and "request" in example:
        body.setdefault("example", example["request"])
    for status, answer in operation["responses"].items():
        for form, content in answer.get("content", {}).items() if status < "300" else ():
            if form == "application/json" and "answer" in example:
                content.setdefault("example", example["answer"])
            elif form in example.get("texts", {}):
                content["example"] = example["texts"][form]
