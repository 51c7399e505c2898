"""Turns a Lua script and objects into what Argo CD would make of their health.

Standard input is JSON with "script" and "objects"; standard output a list of status and message.
Lua 5.1 is the language that Argo CD speaks.
"""

import json
import sys

from lupa import lua51

asked = json.load(sys.stdin)
answers = []
for given in asked["objects"]:
    lua = lua51.LuaRuntime(register_eval=False, register_builtins=False)
    lua.globals().obj = lua.table_from(given, recursive=True)
    health = lua.execute(asked["script"])
    answers.append([health.status, health.message])
json.dump(answers, sys.stdout)
