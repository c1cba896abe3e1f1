// Search runs in a worker, which browsers refuse to pages that are opened from files: there an empty frame takes its place.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inside = frame.contentWindow;
      this.inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const script = this.inside.document.createElement("script");
      script.src = new URL(url, location.href);
      script.onload = () => {
        this.loaded = true;
        this.waiting.splice(0).forEach((data) => this.send(data));
      };
      this.inside.document.body.append(script);
    }

    postMessage(data) {
      this.loaded ? this.send(data) : this.waiting.push(data);
    }

    send(data) {
      this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data }));
    }
  };
}
