# spotbatch with everything: the command line, the local region, the dashboard and the stack. `make dist` first.
#
#   docker build -t spotbatch .
#   docker run --rm spotbatch --help
#   docker run --rm --network host -v spotbatch:/home/spotbatch/.spotbatch --entrypoint python spotbatch -m spotbatch.local --home .spotbatch
#
# The region listens on the loopback address only, so it needs the host's network to be reached from outside its container.
FROM python:3.13-slim
RUN useradd --create-home spotbatch
COPY dist/*.whl /tmp/
RUN set -- /tmp/spotbatch-*.whl && pip install --no-cache-dir "$1[all]" && rm "$1"
USER spotbatch
WORKDIR /home/spotbatch
ENTRYPOINT ["spotbatch"]
