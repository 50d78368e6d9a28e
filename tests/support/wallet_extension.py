"""Freighter as a page meets it, played by a script that signs with a real key.

The extension and the page talk by messages on the window, as @stellar/freighter-api writes and reads them; what its
holder would read in its window is kept in `signed`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import BrowserContext
from stellar_sdk import Keypair, ManageData, TransactionEnvelope

LISTENS = """
window.addEventListener("message", async (event) => {
  const asked = event.data;
  if (event.source !== window || !asked || asked.source !== "FREIGHTER_EXTERNAL_MSG_REQUEST") return;
  const answer = await window.playedWallet(asked);
  const source = "FREIGHTER_EXTERNAL_MSG_RESPONSE";
  window.postMessage({ source, messagedId: asked.messageId, ...answer }, location.origin);
});
"""

DECLINED = {"apiError": {"code": -4, "message": "The user rejected this request."}}


@dataclass
class WalletExtension:
    """`signed`: of each transaction its operations, or the names of the data that they set. `refuses`: the next one."""

    key: Keypair
    signed: list[list[str]] = field(default_factory=list)
    refuses: bool = False

    async def install(self, context: BrowserContext) -> None:
        await context.expose_function("playedWallet", self.answer)
        await context.add_init_script(LISTENS)

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        match asked["type"]:
            case "REQUEST_CONNECTION_STATUS":
                return {"isConnected": True}
            case "REQUEST_ACCESS" | "REQUEST_PUBLIC_KEY":
                return {"publicKey": self.key.public_key}
            case "SUBMIT_TRANSACTION" if self.refuses:
                self.refuses = False
                return DECLINED
            case "SUBMIT_TRANSACTION":
                envelope = TransactionEnvelope.from_xdr(asked["transactionXdr"], asked["networkPassphrase"])
                names = [
                    each.data_name if isinstance(each, ManageData) else type(each).__name__
                    for each in envelope.transaction.operations
                ]
                self.signed.append(names)
                envelope.sign(self.key)
                return {"signedTransaction": envelope.to_xdr(), "signerAddress": self.key.public_key}
            case other:
                return {"apiError": {"code": -1, "message": f"{other} is not played"}}
