"""README and docs/, followed to the letter: every fenced block is run or read by what it is for.

| language | what is done with the block |
|---|---|
| `python` that begins with `# some/file.py` | becomes that file of a new project `mysite`, or is added to it |
| `python` with a function `test_…` | becomes a file of tests, which pytest runs in that project |
| `python`, other | is run, one after another, in one namespace for each page |
| `pycon` | is a doctest in the same namespace; `…` stands for anything |
| `console` | `python manage.py …` is run; what the block shows as its output must come of it (`…`: anything) |
| `ini`, `toml` | is parsed; one that begins with `# some.file` becomes that file |
| `cron`, `http`, `json`, `yaml` | is parsed: commands and their options must be there, paths must lead to views |

The project has the page's files, tables in SQLite, and for each workspace that the page configures a sandbox with
2,500 conversations; the default one's is called `sandbox`. What can't be run says why, in a comment before the block:

    <!-- not run: it starts servers -->
    <!-- terminal: text that its output comes to when it is ready -->

The second is for commands that go on until Ctrl-C. `tests/acceptance/test_quick_start.py` runs those of both kinds
in the quick start. How many there are is counted in `tests/test_documentation.py`. What a page takes for
granted, because its reader has it, is done in a comment too, at that place:

    <!-- run first:
    call_command("orq_sync", full=True)
    -->
"""
