"""`python -m gateway` is `seclude-gateway`."""

from gateway.main import main

raise SystemExit(main())
