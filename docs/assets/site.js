// What scrolls sideways can be reached by the keyboard.
addEventListener("load", () => document.querySelectorAll("pre > code, .md-typeset__scrollwrap").forEach((box) => {
  if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
}));
// The theme draws the page of a search result too faintly, where no style sheet of the page reaches.
const clear = new CSSStyleSheet();
clear.replaceSync("menu { color: inherit !important; }");
addEventListener("focusin", ({ target: { shadowRoot } }) => {
  if (shadowRoot) shadowRoot.adoptedStyleSheets = [clear];
});
