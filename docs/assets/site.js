// What scrolls sideways can be reached by the keyboard.
addEventListener("load", () => document.querySelectorAll("pre > code, .md-typeset__scrollwrap").forEach((box) => {
  if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
}));
