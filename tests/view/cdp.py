"""A headless Chromium, driven over the DevTools protocol through a pipe: no port, no library."""
import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time

BROWSERS = ("chromium-headless-shell", "chrome-headless-shell", "chromium", "chromium-browser",
            "google-chrome")


def find_browser():
    """Path of the first browser installed, or None."""
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


class Browser:
    """One process. Messages are JSON objects, each ended by a zero byte, on descriptors 3 and 4."""

    def __init__(self, program):
        self.profile = tempfile.mkdtemp(prefix="renga-view-")
        command = [program, "--headless", "--remote-debugging-pipe", "--disable-gpu",
                   "--no-first-run", "--hide-scrollbars", "--disable-extensions",
                   f"--user-data-dir={self.profile}", "--force-device-scale-factor=1"]
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # Chromium's sandbox refuses root, as in containers
        to_read, self.to_browser = os.pipe()
        self.from_browser, to_write = os.pipe()
        # Out of the way of 3 and 4 themselves.
        to_read_high = fcntl.fcntl(to_read, fcntl.F_DUPFD_CLOEXEC, 20)
        to_write_high = fcntl.fcntl(to_write, fcntl.F_DUPFD_CLOEXEC, 20)
        self.log = os.path.join(self.profile, "log")
        self.pid = os.posix_spawn(program, command, os.environ, file_actions=[
            (os.POSIX_SPAWN_OPEN, 2, self.log, os.O_WRONLY | os.O_CREAT, 0o600),
            (os.POSIX_SPAWN_DUP2, to_read_high, 3), (os.POSIX_SPAWN_DUP2, to_write_high, 4)])
        for fd in (to_read, to_write, to_read_high, to_write_high):
            os.close(fd)
        self.buffer = b""
        self.next_id = 0
        self.events = []

    def close(self):
        os.close(self.to_browser)
        os.close(self.from_browser)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        shutil.rmtree(self.profile, ignore_errors=True)

    def receive(self, deadline):
        """The next message, or None at the deadline."""
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.from_browser], [], [], left)[0]:
                return None
            got = os.read(self.from_browser, 1 << 20)
            if not got:
                with open(self.log, errors="replace") as log:
                    raise RuntimeError(f"the browser ended: {log.read()[-2000:]}")
            self.buffer += got
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def send(self, method, params=None, session=None, timeout=60):
        """Sends a command and returns its result; events that come meanwhile are kept."""
        self.next_id += 1
        message = {"id": self.next_id, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to_browser, data):]
        deadline = time.monotonic() + timeout
        while True:
            answer = self.receive(deadline)
            if answer is None:
                raise TimeoutError(f"{method}: no answer within {timeout} s")
            if answer.get("id") == self.next_id:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method, session, timeout=60):
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event.get("method") == method and event.get("sessionId") == session:
                    return event["params"]
            event = self.receive(deadline)
            if event is None:
                raise TimeoutError(f"no {method} within {timeout} s")
            self.events.append(event)


class Page:
    """A tab with one file open in it."""

    def __init__(self, browser, path, width=1280, height=800, dark=False):
        self.browser = browser
        target = browser.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.target = target
        self.session = browser.send("Target.attachToTarget",
                                    {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height)
        self.send("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})
        self.url = "file://" + os.path.abspath(path)
        self.send("Page.navigate", {"url": self.url})
        browser.wait_for("Page.loadEventFired", self.session)

    def close(self):
        self.browser.send("Target.closeTarget", {"targetId": self.target})
        self.browser.events = []

    def send(self, method, params=None):
        return self.browser.send(method, params, self.session)

    def accessibility(self):
        """What a screen reader is told: nodes with role, name and properties."""
        self.send("Accessibility.enable")
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [node for node in nodes if not node["ignored"]]

    def resize(self, width, height):
        self.send("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})

    def run(self, expression):
        """Value of a JavaScript expression in the page."""
        result = self.send("Runtime.evaluate", {
            "expression": expression, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def press(self, key, text=None):
        codes = {"Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38, "ArrowLeft": 37,
                 "ArrowRight": 39, "Tab": 9, "Home": 36, "End": 35}
        params = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        if len(key) == 1 or text:
            params["text"] = text or key
        elif key == "Enter":
            params["text"] = "\r"
        self.send("Input.dispatchKeyEvent", {"type": "keyDown", **params})
        params.pop("text", None)
        self.send("Input.dispatchKeyEvent", {"type": "keyUp", **params})

    def type(self, text):
        for letter in text:
            self.press(letter)

    def click(self, selector):
        """Clicks the middle of the first element that matches, which must be on the screen."""
        x, y = self.run(f"""(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{block: "nearest"}});
            const box = element.getBoundingClientRect();
            return [box.left + Math.min(box.width / 2, 60), box.top + box.height / 2];
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", {
                "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1})

    def screenshot(self, path):
        picture = self.send("Page.captureScreenshot", {"format": "png"})["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture))

    def complaints(self):
        """What the console, exceptions and refused loads said."""
        self.run("1")  # events up to now have arrived
        found = []
        for event in self.browser.events:
            method, params = event.get("method"), event.get("params", {})
            if event.get("sessionId") != self.session:
                continue
            if method == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif method == "Runtime.consoleAPICalled":
                found.append(str(params["args"]))
            elif method == "Log.entryAdded":
                found.append(str(params["entry"]))
        return found

    def requests(self):
        """Addresses that the page asked for, but for itself."""
        self.run("1")
        addresses = [event["params"]["request"]["url"] for event in self.browser.events
                     if event.get("method") == "Network.requestWillBeSent" and
                     event.get("sessionId") == self.session]
        return [address for address in addresses if address.split("#")[0] != self.url]
