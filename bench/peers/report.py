"""Shared by the peers' benchmark scripts: timing, peak memory, machine and versions; not a program by itself."""
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import sys
import threading
import time


def timed(call, repeat, warmup=1):
    """Wall seconds of `repeat` calls after `warmup` ones, and the last result."""
    for _ in range(warmup):
        call()
    seconds, result = [], None
    for _ in range(repeat):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return seconds, result


def summary(seconds, work=None):
    out = {"median_s": statistics.median(seconds), "min_s": min(seconds), "all_s": seconds}
    if work:
        out["rows_per_s"] = work / out["median_s"]
    return out


def resident_mb():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class PeakMemory:
    """Largest resident size in MB while the block runs, sampled every 5 ms, and the size before it."""

    def __enter__(self):
        self.before_mb, self.peak_mb, self.running = resident_mb(), 0.0, True
        self.thread = threading.Thread(target=self.sample, daemon=True)
        self.thread.start()
        return self

    def sample(self):
        while self.running:
            self.peak_mb = max(self.peak_mb, resident_mb())
            time.sleep(0.005)

    def __exit__(self, *_):
        self.running = False
        self.thread.join()
        self.peak_mb = max(self.peak_mb, resident_mb())


def machine():
    cpu = platform.processor()
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) / 1e6
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gb": round(memory, 1), "system": platform.system() + " " +
            platform.machine(), "load": os.getloadavg()[0]}


def versions(*names):
    out = {"python": platform.python_version()}
    for name in names:
        out[name] = importlib.metadata.version(name)
    return out


def write(result, path):
    """Adds the process' peak memory and writes JSON to `path` ("-": stdout)."""
    result["process_peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    text = json.dumps(result, indent=1)
    if path == "-":
        print(text)
    else:
        with open(path, "w") as f:
            f.write(text + "\n")
        print("wrote " + path, file=sys.stderr)
