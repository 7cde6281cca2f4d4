"""The side process that serves a local model by llama.cpp.

Run as `python -P model_server.py FILE NAME PORT KEY_FILE THREADS`.
"""

import signal
import sys
from pathlib import Path

CONTEXT = 8192
CONVERSATIONS = 2  # slots; each keeps the prefix of one conversation warm
HOST_CACHE_MB = 256


def main() -> None:
    # Blocked before the server makes its threads, so that they inherit it and the signal waits here.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    import xllamacpp

    file, name, port, key_file, threads = sys.argv[1:6]
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.model_alias = {name}
    params.hostnames = ["127.0.0.1"]
    params.port = int(port)
    params.api_keys = [Path(key_file).read_text()]
    params.cors_origins = "http://127.0.0.1"
    params.offline = True
    params.n_ctx = CONTEXT * CONVERSATIONS
    params.n_parallel = CONVERSATIONS
    params.n_gpu_layers = 0
    params.cache_ram_mib = HOST_CACHE_MB
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    params.ui = False
    server = xllamacpp.Server(params)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del server


if __name__ == "__main__":
    main()
