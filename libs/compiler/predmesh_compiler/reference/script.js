"use strict";
const form = document.getElementById("form");
const state = document.getElementById("state");
const answer = document.getElementById("answer");
const controls = [...form.querySelectorAll("[data-kind]")];
const buttons = [...form.querySelectorAll("button")];

const readers = {
  text: (text) => text,
  number: Number,
  // Past 2^53 a number of JavaScript is not exact; the mesh takes a decimal string too.
  integer: (text) => (Math.abs(Number(text)) <= Number.MAX_SAFE_INTEGER ? Number(text) : text),
  boolean: (text) => text === "true",
  time: (text) => new Date(`${text}Z`).toISOString(),
  json: JSON.parse,
};

const kinds = { integer: "whole number", number: "number", time: "time" };

function row() {
  const instance = {};
  const violations = [];
  for (const { dataset, required, validity, value } of controls) {
    if (validity.badInput) {
      violations.push({ field: `instance.${dataset.name}`, description: `must be a ${kinds[dataset.kind]}` });
    } else if (value !== "" || (required && dataset.kind === "text")) {
      try {
        instance[dataset.name] = readers[dataset.kind](value);
      } catch (error) {
        violations.push({ field: `instance.${dataset.name}`, description: error.message });
      }
    }
  }
  return { instance, violations };
}

function show(violations) {
  for (const control of controls) {
    control.removeAttribute("aria-invalid");
    document.getElementById(`violation-${control.dataset.name}`).textContent = "";
  }
  for (const { field, description } of violations) {
    const name = /^instance\.([a-z0-9_]+)/.exec(field)?.[1];
    const control = controls.find((each) => each.dataset.name === name);
    control?.setAttribute("aria-invalid", "true");
    const place = document.getElementById(control ? `violation-${name}` : "state");
    place.textContent += `${place.textContent ? "; " : ""}${description}`;
  }
  controls.find((each) => each.hasAttribute("aria-invalid"))?.focus();
}

async function send(path, instance) {
  const begun = performance.now();
  const reply = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ instance }),
    signal: AbortSignal.timeout(30_000),
  });
  const content = await reply.json();
  state.textContent = `${reply.status} in ${Math.round(performance.now() - begun)} ms`;
  answer.textContent = JSON.stringify(content, null, 2);
  return (content.details ?? []).flatMap((each) => each.fieldViolations ?? []);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { instance, violations } = row();
  state.textContent = violations.length ? "Not sent" : "…";
  answer.textContent = "";
  show(violations);
  if (violations.length) return;
  buttons.forEach((each) => (each.disabled = true));
  try {
    show(await send(event.submitter.dataset.path, instance));
  } catch (error) {
    state.textContent = `No answer: ${error.message}`;
  } finally {
    buttons.forEach((each) => (each.disabled = false));
  }
});

if (location.protocol.startsWith("http")) {
  document.getElementById("try").hidden = false;
  for (const call of document.querySelectorAll("pre.call")) {
    const text = call.textContent.replaceAll(`http://${call.dataset.host}`, location.origin);
    const sockets = text.replaceAll(`ws://${call.dataset.host}`, location.origin.replace(/^http/, "ws"));
    call.textContent = sockets.replaceAll(call.dataset.host, location.host);
  }
}
