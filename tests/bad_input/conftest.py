from tests.cli.conftest import preceptor, teacher

__all__ = ["preceptor", "teacher"]
