from wel.cli import main

main()
