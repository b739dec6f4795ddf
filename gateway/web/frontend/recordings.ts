// Adds recordings from a browser: chosen or dropped, with progress, and going on where a cut connection left them.
//
// All else on the pages works without this.

import * as tus from "tus-js-client";

const RETRY_AFTER_MS = [0, 1000, 3000, 5000, 10_000, 20_000, 30_000];

interface Problem {
  detail?: string;
  title?: string;
}

class Row {
  readonly element = document.createElement("li");
  private readonly name = document.createElement("span");
  private readonly state = document.createElement("span");
  private readonly bar = document.createElement("progress");

  constructor(name: string) {
    this.name.textContent = name;
    this.state.className = "facts";
    this.state.textContent = "waiting";
    this.bar.max = 1;
    this.bar.value = 0;
    this.bar.setAttribute("aria-label", name);
    this.element.append(this.name, this.state, this.bar);
  }

  progress(sent: number, total: number): void {
    this.bar.value = total === 0 ? 1 : sent / total;
    this.state.textContent = `${Math.floor(this.bar.value * 100)} %`;
  }

  wait(): void {
    this.state.textContent = "the connection is gone; trying again";
  }

  done(address: string): void {
    const link = document.createElement("a");
    link.href = address;
    link.textContent = this.name.textContent;
    this.name.replaceWith(link);
    this.state.textContent = "stored and sealed";
    this.bar.remove();
    // No longer so.
    document.getElementById("none-yet")?.remove();
  }

  fail(reason: string, again: () => void): void {
    const button = document.createElement("button");
    button.className = "plain";
    button.type = "button";
    button.textContent = "Try again";
    button.addEventListener("click", () => {
      button.remove();
      again();
    });
    this.state.textContent = reason;
    this.element.append(button);
  }
}

function reasonOf(error: Error | tus.DetailedError): string {
  const response = "originalResponse" in error ? error.originalResponse : null;
  if (!response) {
    return "the connection is gone";
  }
  try {
    const problem = JSON.parse(response.getBody()) as Problem;
    return problem.detail ?? problem.title ?? `the gateway answered ${response.getStatus()}`;
  } catch {
    return `the gateway answered ${response.getStatus()}`;
  }
}

// What no second try changes is told at once.
function isWorthRetrying(error: Error | tus.DetailedError): boolean {
  const response = "originalResponse" in error ? error.originalResponse : null;
  if (!response) {
    return true;
  }
  try {
    return (JSON.parse(response.getBody()) as { retry?: boolean }).retry === true;
  } catch {
    return response.getStatus() >= 500;
  }
}

async function send(file: File, csrf: string, list: HTMLElement): Promise<void> {
  const row = new Row(file.name);
  list.append(row.element);
  const upload = new tus.Upload(file, {
    endpoint: "/v1/uploads",
    headers: { "X-CSRF-Token": csrf },
    metadata: {
      filename: file.name,
      ...(file.type ? { filetype: file.type } : {}),
      ...(file.lastModified ? { recorded_at: new Date(file.lastModified).toISOString() } : {}),
    },
    retryDelays: RETRY_AFTER_MS,
    removeFingerprintOnSuccess: true,
    onProgress: (sent, total) => row.progress(sent, total ?? file.size),
    onShouldRetry: (error) => {
      row.wait();
      return isWorthRetrying(error);
    },
    onSuccess: () => row.done(`/recordings/${upload.url?.split("/").pop() ?? ""}`),
    onError: (error) => row.fail(reasonOf(error), () => upload.start()),
  });
  // The same file that was cut before goes on where it was, even after the browser was closed.
  const [before] = await upload.findPreviousUploads();
  if (before) {
    upload.resumeFromPreviousUpload(before);
  }
  upload.start();
}

function begin(): void {
  const place = document.getElementById("uploads");
  const list = document.getElementById("upload-list");
  const chooser = document.getElementById("files");
  if (!place || !list || !(chooser instanceof HTMLInputElement)) {
    return;
  }
  const csrf = place.dataset.csrf ?? "";
  const sendAll = (files: FileList | null | undefined): void => {
    for (const file of files ?? []) {
      void send(file, csrf, list);
    }
  };
  chooser.addEventListener("change", () => {
    sendAll(chooser.files);
    chooser.value = "";
  });
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.classList.add("is-over");
  });
  place.addEventListener("dragleave", () => place.classList.remove("is-over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("is-over");
    sendAll(event.dataTransfer?.files);
  });
  place.hidden = false;
}

begin();
