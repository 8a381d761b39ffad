"""Names that would run in a page which did not write them as text: tags, attributes, addresses, templates."""

from __future__ import annotations

__all__ = ["MARK", "PAYLOADS", "RAN"]

MARK = "ran"
RAN = f"window.{MARK}=1"
_RUN = RAN.replace("window.", "")

PAYLOADS: tuple[str, ...] = (
    # tags that run by themselves
    f"<script>{_RUN}</script>",
    f"<ScRiPt>{_RUN}</sCrIpT>",
    f"<script/x>{_RUN}</script/x>",
    f"</script><script>{_RUN}</script>",
    f"<scr<script>ipt>{_RUN}</scr</script>ipt>",
    f"<script>{_RUN}//",
    f"<svg><script>{_RUN}</script></svg>",
    f"<svg><script>{_RUN.replace('=', '&#61;')}</script>",
    f"<math><mi><script>{_RUN}</script></mi></math>",
    f"<template><script>{_RUN}</script></template>",
    f"<script type=module>{_RUN}</script>",
    "<script src=data:text/javascript,ran=1></script>",
    "<iframe srcdoc='<script>parent.ran=1</script>'></iframe>",
    "<iframe src=javascript:parent.ran=1></iframe>",
    "<object data='data:text/html,<script>parent.ran=1</script>'></object>",
    "<embed src=javascript:ran=1>",
    # handlers
    f"<img src=x onerror={_RUN}>",
    f'<img src=x onerror="{_RUN}"//',
    f"<img/src=x/onerror={_RUN}>",
    f"<img src=x:x onerror\n={_RUN}>".replace("\n", " "),
    f"<IMG SRC=x ONERROR={_RUN}>",
    f"<svg onload={_RUN}>",
    f"<svg/onload={_RUN}//",
    f"<svg><animate onbegin={_RUN} attributeName=x dur=1s>",
    f"<svg><set onbegin={_RUN} attributeName=x>",
    f"<body onload={_RUN}>",
    f"<body onpageshow={_RUN}>",
    f"<input autofocus onfocus={_RUN}>",
    f"<select autofocus onfocus={_RUN}>",
    f"<textarea autofocus onfocus={_RUN}>",
    f"<details open ontoggle={_RUN}>",
    f"<video><source onerror={_RUN}></video>",
    f"<audio src=x onerror={_RUN}>",
    f"<marquee onstart={_RUN}>",
    f"<style onload={_RUN}></style>",
    f"<link rel=stylesheet href=data:, onload={_RUN}>",
    f"<div style=animation:x onanimationstart={_RUN}>",
    f"<iframe onload={_RUN}>",
    f"<object onerror={_RUN} data=x>",
    # out of an attribute, a text, a comment, a script's own string
    f'"><script>{_RUN}</script>',
    f"'><script>{_RUN}</script>",
    f'"><img src=x onerror={_RUN}>',
    f'" onfocus={_RUN} autofocus x="',
    f"' onfocus={_RUN} autofocus x='",
    f'" onmouseover="{_RUN}',
    f"` onfocus={_RUN} autofocus x=`",
    f"</title><script>{_RUN}</script>",
    f"</textarea><script>{_RUN}</script>",
    f"</option></select><img src=x onerror={_RUN}>",
    f"</style><script>{_RUN}</script>",
    f"--><script>{_RUN}</script>",
    f"<!--><img src=x onerror={_RUN}>",
    f"]]><script>{_RUN}</script>",
    f'"}};{_RUN};//',
    f"';{_RUN};//",
    f"\\u003cscript\\u003e{_RUN}\\u003c/script\\u003e",
    f"&lt;script&gt;{_RUN}&lt;/script&gt;",
    f"%3Cscript%3E{_RUN}%3C/script%3E",
    # addresses and templates
    f"javascript:{_RUN}",
    f"<a href=javascript:{_RUN} autofocus onfocus={_RUN}>x</a>",
    f"{{{{constructor.constructor('{_RUN}')()}}}}",
    f"${{{_RUN}}}",
    f"<div data-hx-get=/x data-hx-trigger=load data-hx-on:htmx:before:request={_RUN}>",
    f"<div hx-on:click={_RUN} hx-trigger=load>",
)
