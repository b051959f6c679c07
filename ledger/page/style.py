"""How the page looks, and the fields that keep it to itself: one style sheet that is named by its hash, nothing else.

One column and the reader's own font. In light and in dark every letter has a contrast of at least 4.5 to its ground
(WCAG 2.2, success criterion 1.4.3), which `tests/ledger/test_page_browser.py` measures. No state is told by colour
alone.
"""

import base64
import hashlib
from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--paper:#f7f7f4;--card:#fff;--ink:#1b1d22;--soft:#565a64;--rule:#dedcd4;--link:#12569f;
--code:#f1f0ea;--warn:#fff0cc;--edge:#a06400;--good:#17683a;--bad:#a8231c;--wait:#7d5000}
@media(prefers-color-scheme:dark){:root{--paper:#141519;--card:#1c1e23;--ink:#e9e7e1;--soft:#a9acb5;--rule:#353840;
--link:#86b9f7;--code:#262930;--warn:#3a3016;--edge:#e0b04a;--good:#71cf98;--bad:#ff9a91;--wait:#e6bb5c}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);overflow-wrap:break-word;
font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1000px;margin:0 auto;padding:40px 20px 80px}
h1{font-size:32px;line-height:1.2;letter-spacing:-.015em;margin:0 0 16px}
h2{font-size:21px;line-height:1.3;margin:0 0 6px}
h3{font-size:17px;line-height:1.4;margin:0 0 6px}
h3 code{font-size:15px}
p{margin:0 0 12px;max-width:46em}
a{color:var(--link)}
a,bdi,code,pre{overflow-wrap:anywhere}
a:focus-visible,summary:focus-visible{outline:3px solid var(--edge);outline-offset:2px;border-radius:3px}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:4px 18px;margin:20px 0 0;padding:0}
section{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:22px 24px 14px;margin:20px 0}
article{padding:14px 0 0;margin:14px 0 0}
article+article{border-top:1px solid var(--rule)}
.warning{background:var(--warn);border-left:5px solid var(--edge);border-radius:4px;padding:12px 16px;max-width:none}
.standing{display:inline-block;border:1px solid;border-radius:14px;padding:1px 12px;margin:0 0 8px;font-weight:600;
font-size:15px}
.good{color:var(--good)}.bad{color:var(--bad)}.wait{color:var(--wait)}
.soft,caption,thead th{color:var(--soft)}
table{border-collapse:collapse;width:100%;font-size:15px;margin:6px 0 14px;font-variant-numeric:tabular-nums}
caption{text-align:left;font-size:14px;padding:0 0 6px}
th,td{text-align:left;vertical-align:top;padding:7px 14px 7px 0;border-top:1px solid var(--rule);font-weight:400}
th:last-child,td:last-child{padding-right:0}
thead th{font-size:14px;border-top:0}
tbody th{font-weight:600}
.facts th{width:9.5em;color:var(--soft);font-weight:400}
.facts tr:first-child>*{border-top:0}
time{white-space:nowrap}
code,pre{font:13px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
pre{background:var(--code);border-radius:6px;padding:12px 14px;margin:8px 0 14px;white-space:pre-wrap}
summary{cursor:pointer;color:var(--link)}
footer{color:var(--soft);font-size:14px;margin-top:28px}
@media(max-width:700px){main{padding:24px 12px 56px}section{padding:16px 14px 8px}h1{font-size:26px}
th,td{padding-right:10px}.facts th{width:6.4em}time{white-space:normal}
.listing thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.listing tr{display:flex;flex-wrap:wrap;gap:0 14px;border-top:1px solid var(--rule);padding:8px 0}
.listing tbody>tr>*{border:0;padding:0}}
@media print{:root{color-scheme:light;--paper:#fff;--card:#fff;--ink:#000;--soft:#333;--rule:#999;--link:#000;
--code:#fff;--warn:#fff;--edge:#000;--good:#000;--bad:#000;--wait:#000}body{font-size:11pt}
main{max-width:none;padding:0}nav{display:none}section{border:0;padding:0;margin:0 0 18pt}
pre{border:1px solid var(--rule)}tr{break-inside:avoid}h2,h3,.standing{break-after:avoid}
details::details-content{content-visibility:visible;block-size:auto}}
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CONTENT_TYPE: Final = "text/html; charset=utf-8"
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FIELDS: Final = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "public, max-age=5"),  # ages stand on it, so a copy must not grow old
)
