"""The entry of `roomkeeper` and `python -m gateway`. Thin: the console script, and so this module, is run
again as `__mp_main__` in every job process (fact 62), so nothing is imported before `main` is called.
"""


def main() -> None:
    from gateway.cli import app

    app(prog_name="roomkeeper")


if __name__ == "__main__":
    main()
