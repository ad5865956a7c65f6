/** Append an element with a class and a text to a parent. */
export function add(parent, tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  parent.appendChild(element);
  return element;
}

/** Say in words why a panel is empty, or what went wrong with it. */
export function say(parent, text, role = "note") {
  const words = add(parent, "p", "words", text);
  words.setAttribute("role", role);
  return words;
}
