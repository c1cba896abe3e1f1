from wel.cli.app import main

main()
