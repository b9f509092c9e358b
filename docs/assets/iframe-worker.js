/* Search in pages opened from the file system: browsers start no worker there, so a hidden frame takes its place. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const scope = frame.contentWindow
      const load = source => new Promise((resolve, reject) => {
        const script = scope.document.createElement("script")
        script.src = source
        script.onload = resolve
        script.onerror = reject
        scope.document.head.append(script)
      })
      scope.importScripts = (...urls) => urls.reduce((done, next) => done.then(() => load(next)), Promise.resolve())
      scope.postMessage = data => {
        const event = new MessageEvent("message", { data })
        this.dispatchEvent(event)
        this.onmessage?.(event)
      }
      this._scope = scope
      this._frame = frame
      this._ready = load(new URL(url, location.href).href)
    }

    postMessage(data) {
      this._ready.then(() => {
        const event = new this._scope.MessageEvent("message", { data })
        this._scope.dispatchEvent(event)
        this._scope.onmessage?.(event)
      })
    }

    terminate() {
      this._frame.remove()
    }
  }
}
