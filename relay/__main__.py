"""`python -m relay` is `seclude-relay`."""

from relay.main import main

raise SystemExit(main())
