"""How the page looks: one column, a system font, and colours that can be told apart in light and in dark."""

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1c1d21;--soft:#5c5f68;--rule:#e4e2db;--link:#a9a69c;
--p0:#7a5cc7;--p1:#1f6fd1;--p2:#0c8f80;--p3:#c9820a;--accent:#1f6fd1;--other:#b4b2ab;--total:#33363d;
--s1:#9db9dd;--s2:#6f9bd3;--s3:#4680c8;--s4:#2561ad;--s5:#123f7c;--good:#157347;--bad:#b3261e;--warn:#fff1d6}
@media(prefers-color-scheme:dark){:root{--paper:#15161a;--card:#1d1f24;--ink:#eceae4;--soft:#a3a6ae;--rule:#33363d;
--link:#666a73;--p0:#a78bf0;--p1:#63a4f5;--p2:#3cc4b1;--p3:#eab04a;--accent:#63a4f5;--other:#5d6069;--total:#d6d4cd;
--s1:#4c6f9e;--s2:#5381bb;--s3:#5f9bdb;--s4:#7db3ee;--s5:#bcd9fb;--good:#5fc88f;--bad:#ff8a80;--warn:#40351c}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:860px;margin:0 auto;padding:56px 24px 96px}
header{margin-bottom:32px}h1{font-size:38px;line-height:1.15;letter-spacing:-.02em;margin:4px 0 14px}
h2{font-size:20px;letter-spacing:-.01em;margin:0 0 4px}
.eyebrow{margin:0;color:var(--accent);font-weight:600;font-size:14px;letter-spacing:.02em}
.lead{font-size:18px;margin:0 0 12px;max-width:44em}.meta{color:var(--soft);font-size:14px;margin:0}
section{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:24px 26px;margin:20px 0}
section>p{color:var(--soft);margin:0 0 18px;max-width:46em;font-size:15px}
.scroll{overflow-x:auto}svg{display:block;width:100%;min-width:560px;height:auto;font:13px/1 inherit}
.warning,.note{border-radius:8px;padding:10px 14px;margin:10px 0;font-size:15px;border:1px solid var(--rule)}
.warning{background:var(--warn)}
text{fill:var(--ink);font-size:13px}.tick{fill:var(--soft);font-size:12px}.name{fill:var(--ink)}
.value{font-variant-numeric:tabular-nums;font-weight:600}
.grid{stroke:var(--rule);stroke-width:1}.axis{stroke:var(--link);stroke-width:1}
.link{stroke:var(--link);stroke-width:1;stroke-dasharray:2 3}
.line{fill:none;stroke-width:2.25;stroke-linejoin:round;stroke-linecap:round}
.line.muted{stroke-width:1.75}
.dot{fill:var(--card);stroke:var(--ink);stroke-width:1.5}
.party0{fill:var(--p0)}.party1{fill:var(--p1)}.party2{fill:var(--p2)}.party3{fill:var(--p3)}
.accent{fill:var(--accent)}.other{fill:var(--other)}.total{fill:var(--total)}
.shade1{fill:var(--s1)}.shade2{fill:var(--s2)}.shade3{fill:var(--s3)}.shade4{fill:var(--s4)}.shade5{fill:var(--s5)}
.line.party0{stroke:var(--p0)}.line.party1{stroke:var(--p1)}.line.party2{stroke:var(--p2)}
.line.party3{stroke:var(--p3)}.line.accent{stroke:var(--accent);stroke-width:3}.line.other{stroke:var(--other)}
.line.shade1{stroke:var(--s1)}.line.shade2{stroke:var(--s2)}.line.shade3{stroke:var(--s3)}
.line.shade4{stroke:var(--s4)}.line.shade5{stroke:var(--s5)}.line{fill:none!important}
.line.muted{stroke:var(--other)}
.legend{display:flex;flex-wrap:wrap;gap:6px 18px;margin:0 0 8px;font-size:14px}
.legend span{display:inline-flex;align-items:center;gap:7px}
.legend i{width:12px;height:12px;border-radius:3px;display:inline-block;background:var(--other)}
.legend .party0{background:var(--p0)}.legend .party1{background:var(--p1)}
.legend .party2{background:var(--p2)}.legend .party3{background:var(--p3)}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:7px 7px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th:first-child{text-align:left;padding-left:0}th{font-weight:600}tr:last-child>*{border-bottom:0}
tr:first-child th{color:var(--soft);font-weight:500}.good{color:var(--good)}.bad{color:var(--bad)}
"""
