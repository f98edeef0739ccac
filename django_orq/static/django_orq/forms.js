// Changes the token of a form, which the server strips, so that browsers save it with what the user enters, and restore
// both when they request the page again after Back. Otherwise the form would be submitted with a new token, as another.
// They do so for text fields only, and after this event.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const token = document.querySelector("input[name=form_token]");
  if (token) token.value += " ";
});
