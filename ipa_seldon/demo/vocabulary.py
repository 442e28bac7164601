"""The words of made-up texts."""

from __future__ import annotations

VOCABULARY = (
    "amber anchor autumn balance basket bridge bright button candle canvas carbon castle cedar circle cloud cobalt "
    "copper corner cotton crystal dawn delta distant double eagle early east engine evening falcon field first "
    "forest frozen garden gate gentle glass golden granite green harbor hidden hollow island ivory jacket kernel "
    "kettle ladder lantern level little lunar magnet maple marble meadow metal middle mirror morning motor narrow "
    "needle north number ocean office olive open orange orbit paper parcel pepper pilot planet plastic pocket "
    "prime quarter quiet rapid record red river rocket round rubber sample second shadow signal silent silver "
    "simple single small south spring station stone storm street summer sunset table timber total travel tunnel "
    "uniform upper valley velvet violet warm water west wild window winter wonder yellow zone"
)
WORDS = VOCABULARY.split()
