"""Trains, evaluates and reports an experiment: python launch.py --config=configs/breathing_e2e.py"""

from jaxpara.__main__ import main

if __name__ == "__main__":
    main()
