# Sourced by run and versions: interpreters, environments and the versions of libraries.

# interpreter VERSION: prints the Python of a version, such as 3.13; nothing if there is none. It is run, as a command of
# that name may be a stub without an interpreter.
interpreter() {
  local candidate
  for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
    if "$candidate" -c "import sys, venv; assert '%d.%d' % sys.version_info[:2] == '$1'" 2> /dev/null; then
      command -v "$candidate"
      return
    fi
  done
}

# environment VERSION FOLDER: creates an environment with the newest libraries that this Python allows.
environment() {
  local python
  python=$(interpreter "$1")
  if [ -z "$python" ]; then
    echo "no Python $1 here" >&2
    return 1
  fi
  "$python" -m venv "$2" && "$2/bin/python" -m pip install --quiet -e '.[test]'
}

# libraries FOLDER: prints the versions of Python and of the libraries that affect results.
libraries() {
  local found
  found=$("$1/bin/python" -m pip list 2> /dev/null |
    awk '/^(jax|flax|optax|orbax-checkpoint|grain|librosa|numpy|pandas|scikit-learn|scipy) / {printf ", %s %s", $1, $2}')
  echo "$("$1/bin/python" --version)$found"
}
