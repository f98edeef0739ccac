"""HTTP: sends a request, with retries, and turns the response into a value or an error. Private to ``service``.

No object of ``requests`` or ``urllib3`` leaves this package.
"""
