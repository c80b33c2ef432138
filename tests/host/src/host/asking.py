# Carries questions to autodeployd: a line of JSON in, a line of JSON out, until nobody asks any more.
import json
import socket
import sys

for question in sys.stdin:
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(10)
            agent.connect(sys.argv[1])
            agent.sendall(question.strip().encode() + b"\0")
            answer = b""
            while not answer.endswith(b"\0"):
                part = agent.recv(65536)
                if not part:
                    raise OSError("it hung up")
                answer += part
        answer = answer[:-1].decode()
    except OSError as error:
        answer = json.dumps({"error": str(error)})
    print(answer, flush=True)
