// Keeps the token of a form in the browser's history. After Back, a browser requests the page again, fills in what the
// user had entered, and would submit it with a new token, as another form.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const token = document.querySelector("input[name=form_token]");
  if (!token) return;
  token.value = history.state?.orqFormToken ?? token.value;
  history.replaceState({ ...history.state, orqFormToken: token.value }, "");
});
