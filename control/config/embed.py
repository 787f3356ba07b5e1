#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns the model into a C array: embed.py millrace.yang millrace_yang.c"""
import sys

with open(sys.argv[1], "rb") as source:
    data = source.read() + b"\0"
with open(sys.argv[2], "w", encoding="ascii") as out:
    out.write('#include "control/config/schema.h"\n\nconst char schema_text[] = {\n')
    for at in range(0, len(data), 16):
        out.write("\t" + " ".join(f"{byte}," for byte in data[at:at + 16]) + "\n")
    out.write("};\n")
