"""``livesegments serve``: pages and API of a running deployment."""

import typer

from livesegments.cli.console import WRONG, clear_errors, fail, read_settings


def serve(ctx: typer.Context) -> None:
    """Serve the segments, customers and changes of a running deployment, as pages and as an API.

    The API is at /api/v1, its description there and at /api/v1/openapi.json.
    Reads only, and joins no group. Runs until SIGTERM or Ctrl-C.

    Example: livesegments serve
    """
    settings = read_settings(ctx)
    if settings.serve_is_exposed and not settings.serve_token.get_secret_value():
        fail(
            f"LIVESEGMENTS_SERVE_HOST is {settings.serve_host}, where others can reach it: set"
            " LIVESEGMENTS_SERVE_TOKEN or LIVESEGMENTS_SERVE_TOKEN_FILE",
            WRONG,
        )
    with clear_errors(settings):
        from livesegments.extras import require

        require("serve", "serve", "duckdb", "starlette", "uvicorn")
        from livesegments.serve import app

        app.run(settings, started=lambda address: typer.echo(f"serving {address}", err=True))
