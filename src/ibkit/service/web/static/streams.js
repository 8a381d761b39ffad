// One stream of events that stays open: a break is mended by the browser, a refusal (too many streams, no session) is
// told at the foot of the page and tried again after half a minute. The service counts no stream as use of a sign-in.
import { failed, works } from "./app.js";

const AGAIN_MS = 30000;

// heard: { name of an event: what is done with it }. refused: what is done where it is. close() ends it and all waiting.
export function listen(address, heard, refused = () => {}) {
  const name = address.split("?")[0];
  let source = null;
  let timer = null;
  function begin() {
    source = new EventSource(address);
    for (const [event, act] of Object.entries(heard)) source.addEventListener(event, act);
    source.addEventListener("open", () => works(name));
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself
      failed(name, "quiet");
      refused();
      timer = setTimeout(begin, AGAIN_MS);
    });
  }
  begin();
  return {
    close() {
      clearTimeout(timer);
      source.close();
      works(name);
    },
  };
}
