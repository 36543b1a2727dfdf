// The dialog that asks for a token; several requests that were refused at once share one.

import { byId, say } from "./dom.js";

let asked = null;

/** The token that somebody types; waits until there is one. */
export function askToken(refused) {
  asked ??= new Promise((resolve) => {
    const [dialog, text] = [byId("token"), byId("token-text")];
    say(byId("token-problem"), refused ? "This token is not accepted." : null);
    text.value = "";
    dialog.oncancel = (event) => event.preventDefault();
    byId("token-form").onsubmit = () => {
      asked = null;
      resolve(text.value.trim());
    };
    dialog.showModal();
    text.focus();
  });
  return asked;
}
