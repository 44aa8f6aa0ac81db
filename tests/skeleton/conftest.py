from ..surgery.conftest import quick_compile as quick_compile
