# Sourced by run and versions: interpreters, environments and the versions of libraries.

# Prints the interpreter of a version, such as 3.13; nothing where there is none. A command of that name may be a stub
# that finds no interpreter, so only one that runs counts.
interpreter() {
  local candidate
  for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
    if "$candidate" -c "import sys, venv; assert '%d.%d' % sys.version_info[:2] == '$1'" 2> /dev/null; then
      command -v "$candidate"
      return
    fi
  done
}

# environment PYTHON FOLDER: a fresh one with the newest libraries that this Python allows.
environment() {
  "$1" -m venv "$2" && "$2/bin/python" -m pip install --quiet -e '.[test]'
}

# libraries FOLDER: prints the versions of Python and of the libraries that decide about results.
libraries() {
  local found
  found=$("$1/bin/python" -m pip list 2> /dev/null |
    awk '/^(jax|flax|optax|orbax-checkpoint|grain|librosa|numpy|scikit-learn) / {printf ", %s %s", $1, $2}')
  echo "$("$1/bin/python" --version)$found"
}
