"""The page's one style sheet: system type, tabular numbers, two palettes that follow the reader's light or dark."""

_LIGHT = """
--paper:#ffffff;--panel:#f6f7f9;--ink:#1b1f24;--soft:#5b6470;--rule:#dfe3e8;--accent:#2f5fb3;--keep:#7f9cc9;--want:#c3cad4;
--d0:#4a72b0;--d1:#dd8a3c;--d2:#5b9e6a;--d3:#b85a70;--d4:#7f6db5;--d5:#4b9fae;--d6:#b8963a;--d7:#8d6a55;--d8:#c581b0;
--d9:#7d8a49;--dx:#98a1ac;
--r0:#c2553f;--r1:#e0a044;--r2:#7d5f8f;--r3:#5d8196;--r4:#9b7446;--r5:#6f7f57;--r6:#b77f97;--r7:#98a1ac;
--less:#2f6fc0;--more:#c9513a
"""

_DARK = """
--paper:#14171b;--panel:#1c2026;--ink:#e4e7eb;--soft:#9aa4b0;--rule:#2e343c;--accent:#86aef0;--keep:#6d8fc4;--want:#4a535f;
--d0:#6f97d8;--d1:#e8a261;--d2:#7dbd8b;--d3:#d47f94;--d4:#a394d6;--d5:#6fc0cf;--d6:#d3b45c;--d7:#b18f79;--d8:#dba2c9;
--d9:#a3b06a;--dx:#7d8792;
--r0:#dc7a65;--r1:#e9b768;--r2:#a587b8;--r3:#83a9bf;--r4:#c09a6b;--r5:#98a97d;--r6:#d3a1b6;--r7:#7d8792;
--less:#5b93e6;--more:#e0705a
"""

_NAMES = [*(f"d{i}" for i in range(10)), "dx", *(f"r{i}" for i in range(8)), "keep", "want", "less", "more"]
_TONES = "".join(
    f".{name}{{fill:var(--{name});background-color:var(--{name})}}svg .{name}.thread{{stroke:var(--{name})}}"
    for name in _NAMES
)

_PAGE = """
*{box-sizing:border-box}
html{color-scheme:light dark;scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums lining-nums}
main{max-width:1000px;margin:0 auto;padding:48px 32px 96px}
header{margin-bottom:40px}
h1{font-size:32px;line-height:1.2;font-weight:650;letter-spacing:-.015em;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:21px;line-height:1.3;font-weight:620;letter-spacing:-.008em;margin:0 0 4px}
h3{font-size:15px;font-weight:620;margin:28px 0 6px}
h4{font-size:13.5px;font-weight:620;margin:20px 0 4px}
p{margin:0 0 12px;max-width:68ch}
.lead,.sub{color:var(--soft)}
.lead{margin-bottom:18px}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;margin:22px 0 0;padding:10px 0;border:solid var(--rule);border-width:1px 0;
font-size:14px}
a{color:var(--accent);text-decoration:none}
a:hover{text-decoration:underline}
section{margin:56px 0 0}
.tiles{display:flex;flex-wrap:wrap;gap:1px;margin:22px 0 0;padding:0;
background:var(--rule);border:1px solid var(--rule);border-radius:8px;overflow:hidden}
.tiles>div{flex:1 1 140px;background:var(--paper);padding:13px 16px 12px}
.tiles dt{color:var(--soft);font-size:12.5px}
.tiles dd{margin:0;font-size:22px;font-weight:600;letter-spacing:-.01em;line-height:1.35}
.tiles dd.remark{font-size:12.5px;font-weight:400;color:var(--soft);letter-spacing:0}
figure{margin:18px 0 22px;overflow-x:auto}
figcaption{color:var(--soft);font-size:13px;margin-top:8px;max-width:80ch}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font-size:12px;fill:var(--ink)}
svg .num,svg .axis{fill:var(--soft);font-size:11.5px}
svg .strong{font-weight:600;font-size:12.5px}
svg .pointed{fill:var(--ink);font-weight:600;font-size:11.5px}
svg .rule{stroke:var(--rule);stroke-width:1}
svg .mark,svg .even{stroke:var(--ink);stroke-width:1.25;stroke-dasharray:4 3}
svg .stroke{fill:none;stroke:var(--accent);stroke-width:2.25;stroke-linejoin:round}
svg .thread{fill:none;stroke-width:2;stroke-linejoin:round}
svg .spot{fill:var(--accent);stroke:var(--paper);stroke-width:1.5}
svg .kept{fill-opacity:.38}
svg .gone{fill-opacity:.16}
svg rect.gone{fill-opacity:.55}
svg .h1{fill-opacity:.12}
svg .h2{fill-opacity:.26}
svg .h3{fill-opacity:.4}
svg .h4{fill-opacity:.55}
svg .h5{fill-opacity:.7}
svg circle.keep{fill-opacity:.7}
svg path:hover,svg rect:hover{fill-opacity:.75}
svg .stroke:hover{fill-opacity:1}
.key{display:flex;flex-wrap:wrap;gap:3px 16px;margin:0 0 12px;padding:0;list-style:none;font-size:13px;
color:var(--soft)}
.key li{overflow-wrap:anywhere}
.chip{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px}
.wide{overflow-x:auto;margin:14px 0 20px}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{padding:5px 14px 5px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule);font-weight:400}
td,.num{white-space:nowrap}
th.num,td.num{text-align:right;padding:5px 0 5px 14px}
thead th{color:var(--soft);font-size:12.5px;vertical-align:bottom;border-bottom-color:var(--soft)}
.slim{max-width:460px}
tbody tr:hover{background:var(--panel)}
tfoot th,tfoot td{font-weight:620;border-bottom:0}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(330px,1fr));gap:12px 40px;align-items:start}
.pairs{display:grid;grid-template-columns:minmax(90px,max-content) 1fr;gap:2px 18px;margin:8px 0 12px;font-size:13.5px}
.pairs dt{color:var(--soft)}
.pairs dd{margin:0;overflow-wrap:anywhere}
.pairs .pairs{margin:0}
.quoted{gap:8px 18px}
.beside{display:grid;grid-template-columns:1fr 1fr;gap:1px 20px;margin:14px 0 18px}
blockquote{margin:0;padding:2px 0 2px 14px;border-left:3px solid var(--rule);min-width:0}
blockquote p{margin:0 0 4px;font-size:13.5px;overflow-wrap:anywhere}
blockquote .sub{font-size:12.5px;white-space:pre-line}
details{border-top:1px solid var(--rule);padding:7px 0}
details:last-of-type{border-bottom:1px solid var(--rule)}
summary{cursor:pointer;font-size:14px;overflow-wrap:anywhere}
pre{background:var(--panel);border-radius:8px;padding:16px 18px;overflow-x:auto;
font:12.5px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
.note{border-left:3px solid var(--accent);padding:2px 0 2px 14px;margin:14px 0}
footer{margin-top:72px;color:var(--soft);font-size:12.5px}
"""

_PRINT = """
@page{margin:16mm}
body{font-size:11pt}main{max-width:none;padding:0}nav{display:none}section{margin-top:28px}
figure,tr,.tiles,.beside,.two>*{break-inside:avoid}h2,h3{break-after:avoid}pre{white-space:pre-wrap}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
details::details-content{content-visibility:visible;height:auto}
"""

STYLE = (
    f":root{{{_LIGHT.strip()}}}@media (prefers-color-scheme:dark){{:root{{{_DARK.strip()}}}}}"
    f"{_PAGE}{_TONES}@media print{{:root{{{_LIGHT.strip()}}}{_PRINT}}}"
).replace("\n", "")
