// One residue can be selected: it stands in the address as #A/123 and is announced as an event on the document.

const PATTERN = /^#([^/]+)\/(-?\d+[A-Za-z]?)$/;

export function parse(hash) {
  const match = PATTERN.exec(hash);
  if (!match) return null;
  try {
    return { chain: decodeURIComponent(match[1]), number: match[2] };
  } catch {
    return null; // a stray % sign: not one of our addresses
  }
}

export function current() {
  return parse(location.hash);
}

export function select(chain, number, source) {
  history.replaceState(history.state, "", `#${encodeURIComponent(chain)}/${number}`);
  announce({ chain, number }, source);
}

function announce(residue, source) {
  document.dispatchEvent(new CustomEvent("ceres:residue", { detail: { ...residue, source } }));
}

export function onSelect(listener) {
  document.addEventListener("ceres:residue", (event) => listener(event.detail));
}

// Links such as the list of outliers change the address; whoever shows residues is told.
export function followAddress() {
  addEventListener("hashchange", () => {
    const residue = current();
    if (residue) announce(residue, "address");
  });
}
