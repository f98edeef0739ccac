"""The wire: one HTTP exchange with its repetitions, and what an answer means. Private to ``service``.

Nothing of ``requests`` or ``urllib3`` leaves this package.
"""
