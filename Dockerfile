# syntax=docker/dockerfile:1
# The Node that the tests run on (package-lock.json). Debian's slim image rather than Alpine: the same C library as
# where the tests run.
ARG NODE_VERSION=24.21.0

FROM node:${NODE_VERSION}-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# Neither tools nor the embedded Postgres. What only compilers and debuggers read is half of the rest.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund \
  && find node_modules -type f \( -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.map' \) -delete \
  && rm -rf node_modules/openai/src

FROM node:${NODE_VERSION}-slim
LABEL org.opencontainers.image.title="Rowmill" \
  org.opencontainers.image.description="Insert rows into Postgres; get them back enriched by an LLM, at the batch price, each row paid for once." \
  org.opencontainers.image.licenses="MIT"
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY src ./src
# The worker applies them itself.
COPY supabase/migrations ./supabase/migrations
ENV NODE_ENV=production HOST=0.0.0.0
EXPOSE 8787
# The image's user `node`, by number: Kubernetes cannot tell from a name that it is not root. It owns no file here.
USER 1000:1000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 8787}/healthz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# No shell in between, which would keep SIGTERM to itself.
CMD ["node", "--optimize-for-size", "src/server.ts"]
